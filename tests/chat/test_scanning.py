"""The virus scanner: a command that ends with 0, with 1, otherwise, or not at all; and ClamAV itself."""

from __future__ import annotations

import logging
import sys

import pytest

from chat import scanning
from chat.errors import HarmfulFileError, UnavailableError
from tests.services import require

# Put together here, so that no scanner that looks at the repository finds it.
EICAR = "".join(
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!", "$H+H*"]
).encode()
SIGNATURE = f"Test.EICAR:0:0:{EICAR.hex()}\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    return path


def program(text):
    return [sys.executable, "-c", text]


def test_without_a_command_nothing_is_checked(file, settings):
    settings.SIGNET_SCAN_COMMAND = []
    scanning.check(file)


def test_command_gets_the_file_and_says_that_it_is_clean(file, settings):
    settings.SIGNET_SCAN_COMMAND = program(
        "import sys; sys.exit(0 if open(sys.argv[-1]).read() == 'hello' else 3)"
    )
    scanning.check(file)


def test_what_was_found_is_in_the_log_and_not_told(file, settings, caplog):
    settings.SIGNET_SCAN_COMMAND = program("print('Evil.Worm FOUND'); raise SystemExit(1)")
    with caplog.at_level(logging.WARNING, "chat"), pytest.raises(HarmfulFileError) as caught:
        scanning.check(file)
    assert "Evil.Worm FOUND" in caplog.text
    assert "Worm" not in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        program("print('no database'); raise SystemExit(2)"),
        program("import os; os.abort()"),
        program("import time; time.sleep(30)"),
        ["/nowhere/scanner"],
    ],
    ids=["fails", "crashes", "hangs", "missing"],
)
def test_scanner_that_says_neither_lets_nothing_in(file, settings, monkeypatch, caplog, command):
    settings.SIGNET_SCAN_COMMAND = command
    monkeypatch.setattr(scanning, "SECONDS", 1)
    with pytest.raises(UnavailableError, match="could not be checked"):
        scanning.check(file)
    assert "The virus scanner" in caplog.text


def test_clamav_finds_what_its_signatures_name(file, settings, tmp_path):
    require("clamscan")
    (tmp_path / "own.ndb").write_text(SIGNATURE)
    settings.SIGNET_SCAN_COMMAND = [
        *("clamscan", "--no-summary", f"--database={tmp_path / 'own.ndb'}")
    ]
    scanning.check(file)
    file.write_bytes(EICAR)
    with pytest.raises(HarmfulFileError):
        scanning.check(file)
