"""What a virus scanner says of a file, where SIGNET_SCAN_COMMAND names one.

The command gets the path of the file as its last word. It ends with 0 for a clean file and with 1 for
one that it found something in, as those of ClamAV do; whatever else happens means that the file has
not been checked, and then it is not taken.
"""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from threading import BoundedSemaphore

from django.conf import settings

from chat.errors import HarmfulFileError, UnavailableError

logger = logging.getLogger("chat")

SECONDS = 60
AT_ONCE = BoundedSemaphore(4)  # in this process; the others wait their turn
CLEAN, FOUND = 0, 1
UNCHECKED = "This file could not be checked for viruses, so it was not taken. Tell an admin."


def check(place: Path) -> None:
    """Refuses (HarmfulFileError) what the scanner finds something in, and (UnavailableError) what it
    cannot check. Its words are for the log; they are not told to who uploads."""
    command: list[str] = settings.SIGNET_SCAN_COMMAND
    if not command:
        return
    try:
        with AT_ONCE:
            done = subprocess.run(
                [*command, str(place)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.error("The virus scanner did not answer: %s", error)
        raise UnavailableError(UNCHECKED) from None
    said = " ".join(done.stdout.decode(errors="replace").split())[:500]
    if done.returncode == FOUND:
        logger.warning("The virus scanner refused an upload: %s", said)
        raise HarmfulFileError
    if done.returncode != CLEAN:
        logger.error("The virus scanner failed with %s: %s", done.returncode, said)
        raise UnavailableError(UNCHECKED)
