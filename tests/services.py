"""What a machine may lack: skipped by name, and a failure where CI says that it must be there."""

from __future__ import annotations

import os
import shutil

import pytest


def skip_without(name: str) -> None:
    """Skip the test because `name` is missing; with CI=true fail it."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{name} is missing, and CI=true says that nothing may be skipped")
    pytest.skip(f"{name} is missing on this machine")


def require(*programs: str) -> None:
    """Skip, or fail, unless all the programs are there."""
    for program in programs:
        if shutil.which(program) is None:
            skip_without(program)
