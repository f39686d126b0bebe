"""How many connections each address holds. An IPv6 network of 64 bits counts as one address."""

from __future__ import annotations

import ipaddress
from collections import Counter


def group(address: str) -> str:
    """What is counted as one: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


class Admission:
    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    def admit(self, address: str, *, limit: int) -> bool:
        """Count one more connection of this address in, if it holds fewer than `limit`."""
        who = group(address)
        if self._held[who] >= limit:
            return False
        self._held[who] += 1
        return True

    def release(self, address: str) -> None:
        """Undo one `admit` that said yes."""
        who = group(address)
        self._held[who] -= 1
        if self._held[who] <= 0:
            del self._held[who]
