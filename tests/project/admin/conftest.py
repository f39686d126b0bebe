"""The console's visitors, as in the tests of the other pages."""

from tests.pki.admin.conftest import clerk, console, no_lockouts

__all__ = ["clerk", "console", "no_lockouts"]
