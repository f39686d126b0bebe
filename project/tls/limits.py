"""How much of a peer is waited for and taken, over HTTP. docs/attacks.md lists all bounds."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True)
class Limits:
    head_seconds: float = 15  # from the first byte of a request to the end of its headers
    body_seconds: float = 60  # from there to the end of its body
    body_bytes: int = 256 * 1024
    idle_seconds: float = 60  # without a byte where a request may begin

    @classmethod
    def from_settings(cls) -> Limits:
        return cls(
            head_seconds=settings.SIGNET_HEAD_SECONDS,
            body_seconds=settings.SIGNET_BODY_SECONDS,
            body_bytes=settings.SIGNET_BODY_BYTES,
            idle_seconds=settings.SIGNET_IDLE_SECONDS,
        )
