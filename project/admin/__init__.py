"""Pages of the console about the serving processes, and those with buttons of the chat's."""

from project.admin import (  # noqa: F401 (registers them)
    connections,
    endpoints,
    exports,
    handshakes,
    people,
    reports,
    rooms,
)
