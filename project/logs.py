"""What a log must not keep."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

NOT_OURS = "A request for %r got 400: pages are served under the names in SIGNET_HOST alone."
LONGEST_HOST = 260
TOKEN = re.compile(r"/enrol/[^/\s'\"]+")


class HideTokens(logging.Filter):
    """Replaces the token of an enrolment link wherever a log line would show one."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if "/enrol/" in text:
            record.msg, record.args = TOKEN.sub("/enrol/…", text), ()
        return True


def hide_odd_names(unraisable: Any) -> None:
    """For `sys.unraisablehook`: Python prints a stack trace for each client that asks for a server
    name outside ASCII. That handshake fails, and is reported like every other."""
    is_name = isinstance(unraisable.object, bytes)
    if not (is_name and isinstance(unraisable.exc_value, UnicodeDecodeError)):
        sys.__unraisablehook__(unraisable)


class NameHosts(logging.Filter):
    """Says of a request for a host that is not ours what to do about it, without a stack trace."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        host = request.META.get("HTTP_HOST", "") if request else ""
        record.msg, record.args = NOT_OURS, (host[:LONGEST_HOST],)
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True
