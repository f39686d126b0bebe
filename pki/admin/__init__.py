"""The pages of the console. Each is a door: it asks, calls one verb and shows the result."""

from pki.admin import (
    authorities,
    certificates,
    endpoints,
    groups,
    people,
    records,
    truststores,
)

__all__ = ["authorities", "certificates", "endpoints", "groups", "people", "records", "truststores"]
