"""Pages of the console about the serving processes."""

from project.admin import connections, endpoints, handshakes  # noqa: F401 (registers them)
