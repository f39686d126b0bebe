"""What a log must not keep."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

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
