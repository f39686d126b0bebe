"""Readers of environment variables; each refuses a wrong value loudly, naming the variable."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)
TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


def boolean(name: str, *, default: bool, environ: Mapping[str, str] = os.environ) -> bool:
    value = environ.get(name)
    if value is None:
        return default
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is neither true nor false. Write 1 or 0.")


def port(name: str, *, default: int, environ: Mapping[str, str] = os.environ) -> int:
    return number(name, default=default, most=65535, environ=environ)


def number(name: str, *, default: int, most: int, environ: Mapping[str, str] = os.environ) -> int:
    """A whole number from 1 to `most`."""
    value = environ.get(name, str(default))
    if value.isascii() and value.isdigit() and 1 <= int(value) <= most:
        return int(value)
    raise ImproperlyConfigured(f"{name}={value!r} is not a number from 1 to {most}.")


def hosts(name: str, *, default: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Host names and addresses, comma-separated; the first is the canonical one."""
    names = [part.strip().lower() for part in environ.get(name, default).split(",") if part.strip()]
    if not names:
        raise ImproperlyConfigured(f"{name} is empty. Write at least one host name.")
    for candidate in names:
        if not (HOST_NAME.match(candidate) or is_address(candidate)):
            raise ImproperlyConfigured(
                f"{name}: {candidate!r} is neither a host name nor an IP address."
            )
    return list(dict.fromkeys(names))


def one_of(name: str, allowed: list[str], *, environ: Mapping[str, str] = os.environ) -> str:
    """One of the names; empty where the variable is."""
    value = environ.get(name, "").strip().lower()
    if value and value not in allowed:
        raise ImproperlyConfigured(f"{name}={value!r} is none of {', '.join(allowed)}.")
    return value


def networks(
    name: str, *, default: str, environ: Mapping[str, str] = os.environ
) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks, comma-separated; an empty value means none."""
    found = []
    for part in environ.get(name, default).split(","):
        if part.strip():
            try:
                found.append(ip_network(part.strip()))
            except ValueError:
                raise ImproperlyConfigured(
                    f"{name}: {part.strip()!r} is neither an address nor a network."
                ) from None
    return found


def url(name: str, *, schemes: set[str], environ: Mapping[str, str] = os.environ) -> str | None:
    """A URL with one of the schemes, or None where the variable is unset. Its password is not shown."""
    value = environ.get(name)
    if not value:
        return None
    if urlsplit(value).scheme not in schemes:
        raise ImproperlyConfigured(f"{name} must begin with {' or '.join(sorted(schemes))}://")
    return value


def file(name: str, *, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The absolute path of a file, or None where the variable is unset; it may come later."""
    value = environ.get(name)
    if not value:
        return None
    if not Path(value).is_absolute():
        raise ImproperlyConfigured(f"{name}={value!r} must be an absolute path.")
    return Path(value)


def command(name: str, *, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The words of a command whose program is there; none where the variable is unset."""
    try:
        words = shlex.split(environ.get(name, ""))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} cannot be read: {error}.") from None
    if words and shutil.which(words[0]) is None:
        raise ImproperlyConfigured(f"{name}: there is no program {words[0]!r}.")
    return words


def token(
    module: str, label: str, pin_file: str, *, environ: Mapping[str, str] = os.environ
) -> tuple[Path | None, str, Path | None]:
    """A PKCS #11 module, the label of its token and the file of its PIN: all of them or none.

    The PIN file may come later, and the token be away; a module that is missing is a wrong name.
    """
    missing = [name for name in (module, label, pin_file) if not environ.get(name)]
    if missing and len(missing) < 3:
        raise ImproperlyConfigured(
            f"{' and '.join(missing)} must be set too, or none of {module}, {label} and {pin_file}."
        )
    library = file(module, environ=environ)
    if library is not None and not library.is_file():
        raise ImproperlyConfigured(
            f"{module}: there is no file {library}. Name the PKCS #11 library of the token."
        )
    return library, environ.get(label, ""), file(pin_file, environ=environ)


def make_home(name: str, path: Path) -> None:
    """Make the directory that everything is written to, for its owner alone."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ImproperlyConfigured(f"{name} ({path}) cannot be made: {error.strerror}.") from None


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
