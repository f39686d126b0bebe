"""The PROXY protocol: what a proxy that passes TCP on says before the first byte of its client.

Pure. Versions 1 (a line of text; all that nginx can send) and 2 (binary), as HAProxy's document
proxy-protocol.txt has them; stricter where it leaves a choice. Whom to believe is decided by
`is_listed`: a header from anybody else is a forgery.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED = len(SIGNATURE) + 4
MAX_HEADER = 4096  # of version 2, with what it may carry besides addresses
MAX_LINE = 107  # of version 1, by its definition
LOCAL, PROXY = 0, 1
ADDRESSES = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6: bytes of an address
CRC32C = 0x03
NOT_LISTED = "not one of the proxies of this endpoint"
LIST_IT = "If it is one, add its address to the endpoint; people connect to the proxy."
SEND_IT = "Let the proxy send a PROXY header (HAProxy: send-proxy-v2, nginx: proxy_protocol on)."

Address = tuple[str, int]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxyHeaderError(Exception):
    """What came is no PROXY header that counts; str() says why."""


@dataclass(frozen=True)
class Header:
    """`size` bytes were the header. Without addresses the proxy speaks for itself."""

    size: int
    client: Address | None = None
    server: Address | None = None  # where the client connected to


def parse(data: bytes) -> Header | None:
    """The header that `data` begins with; None while more of it must come in. Raises
    ProxyHeaderError as soon as it is known that there is none, or one that is too long."""
    if data.startswith(SIGNATURE):
        return _parse_binary(data)
    if data.startswith(b"PROXY "):
        return _parse_line(data)
    if SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    raise ProxyHeaderError("the connection does not begin with a PROXY header")


def is_listed(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks. An IPv4 address may come as `::ffff:…`."""
    try:
        found = ipaddress.ip_address(plain(address))
    except ValueError:
        return False
    return any(found in network for network in networks)


def plain(address: str) -> str:
    """An address without zone, and as IPv4 where it is one."""
    bare = address.partition("%")[0]
    if ":" in bare:
        mapped = ipaddress.IPv6Address(bare).ipv4_mapped
        return str(mapped or bare)
    return bare


# --- version 2 ------------------------------------------------------------------------------


def _parse_binary(data: bytes) -> Header | None:
    """Numbered checks; nothing after the fixed part is looked at before all of it is here."""
    if len(data) < FIXED:
        return None
    version, family = data[12], data[13]
    size = FIXED + int.from_bytes(data[14:16], "big")
    # 1. Version and command.
    if version >> 4 != 2 or version & 0x0F not in (LOCAL, PROXY):
        raise ProxyHeaderError("the PROXY header has an unknown version or command")
    # 2. The length that it says.
    if size > MAX_HEADER:
        raise ProxyHeaderError(f"the PROXY header is longer than {MAX_HEADER} bytes")
    if len(data) < size:
        return None
    header = data[:size]
    # 3. A proxy that speaks for itself, as in a health check. Everything else in it is ignored.
    if version & 0x0F == LOCAL:
        return Header(size)
    # 4. Addresses of TCP. Of an unspecified client the proxy's address would be a lie.
    if family not in ADDRESSES:
        raise ProxyHeaderError("the PROXY header is not about TCP over IPv4 or IPv6")
    wide = ADDRESSES[family]
    end = FIXED + 2 * wide + 4
    if size < end:
        raise ProxyHeaderError("the PROXY header is too short for its addresses")
    # 5. What follows the addresses keeps its bounds, and the checksum is right if there is one.
    _check_extras(header, end)
    ports = FIXED + 2 * wide
    return Header(
        size,
        client=(_packed(header[FIXED : FIXED + wide]), _number(header[ports : ports + 2])),
        server=(_packed(header[FIXED + wide : ports]), _number(header[ports + 2 : end])),
    )


def _check_extras(header: bytes, at: int) -> None:
    while at < len(header):
        value = at + 3
        end = value + _number(header[at + 1 : value])
        if value > len(header) or end > len(header):
            raise ProxyHeaderError("a field of the PROXY header goes beyond its end")
        if header[at] == CRC32C:
            zeroed = header[:value] + bytes(end - value) + header[end:]
            if end - value != 4 or _number(header[value:end]) != crc32c(zeroed):
                raise ProxyHeaderError("the checksum of the PROXY header is wrong")
        at = end


def _packed(address: bytes) -> str:
    return plain(str(ipaddress.ip_address(address)))


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum (RFC 3720, B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# --- version 1 ------------------------------------------------------------------------------


def _parse_line(data: bytes) -> Header | None:
    line, end, _ = data[:MAX_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= MAX_LINE:
            raise ProxyHeaderError(f"the PROXY line is longer than {MAX_LINE} bytes")
        return None
    try:
        _, family, source, destination, *ports = line.decode("ascii").split(" ")
        kind = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}[family]
        theirs, ours = (_written(kind, address) for address in (source, destination))
        from_port, to_port = (_port(port) for port in ports)
    except (ValueError, KeyError):
        raise ProxyHeaderError("the PROXY line is malformed") from None
    return Header(len(line) + len(end), client=(theirs, from_port), server=(ours, to_port))


def _written(kind: Any, address: str) -> str:
    if "%" in address:
        raise ValueError("A zone means nothing on another machine.")
    return plain(str(kind(address)))


def _port(text: str) -> int:
    port = int(text)
    if not (text.isascii() and text.isdigit()) or str(port) != text or port > 65535:
        raise ValueError(f"{text} is no port.")
    return port
