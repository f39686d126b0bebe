"""A PKCS #11 token in software (SoftHSM), made for one test."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import require, skip_without

MODULES = [
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/softhsm/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
]
LABEL, PIN = "signet test", "123456"


@dataclass(frozen=True)
class Token:
    module: Path
    home: Path
    pin_file: Path

    @property
    def tokens(self) -> Path:
        return self.home / "tokens"

    def take_away(self) -> None:
        self.tokens.rename(self.home / "away")

    def bring_back(self) -> None:
        (self.home / "away").rename(self.tokens)


def make_token(home: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    """A fresh token with a PIN file; SOFTHSM2_CONF points at it for as long as the test lasts."""
    require("softhsm2-util")
    module = next((path for path in MODULES if path.exists()), None)
    if module is None:
        skip_without("libsofthsm2.so")
    assert module is not None
    (home / "tokens").mkdir(parents=True)
    configuration = home / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    command = ["softhsm2-util", "--init-token", "--free", "--label", LABEL]
    command += ["--pin", PIN, "--so-pin", "87654321"]
    subprocess.run(command, check=True, capture_output=True)
    pin_file = home / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(f"{PIN}\n")
    return Token(module, home, pin_file)
