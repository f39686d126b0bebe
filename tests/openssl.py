"""OpenSSL as the judge of what we made."""

from __future__ import annotations

import subprocess

from tests.services import require


def openssl(*arguments: object, stdin: bytes = b"", fails: bool = False) -> str:
    """Output of `openssl …`, both streams; asserts that it succeeded (or failed, if so asked)."""
    require("openssl")
    done = subprocess.run(
        ["openssl", *map(str, arguments)], input=stdin, capture_output=True, timeout=90, check=False
    )
    output = (done.stdout + done.stderr).decode(errors="replace")
    assert (done.returncode != 0) is fails, output
    return output
