"""The pages of the console. Each is a door: it asks, calls one verb and shows the result."""

from pki.admin import (
    audit,
    authorities,
    authority_requests,
    certificates,
    endpoints,
    groups,
    operations,
    people,
    profiles,
    records,
    requests,
    truststores,
)

__all__ = [
    "audit",
    "authorities",
    "authority_requests",
    "certificates",
    "endpoints",
    "groups",
    "operations",
    "people",
    "profiles",
    "records",
    "requests",
    "truststores",
]
