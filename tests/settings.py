"""Settings of the tests: a home of their own that lasts for one run, everything else as it ships.

DATABASE_URL and REDIS_URL are honoured, so the same tests run on PostgreSQL and Redis.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="signet-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
for variable in [name for name in os.environ if name.startswith("SIGNET_")]:
    del os.environ[variable]
os.environ["SIGNET_HOME"] = str(HOME)

from pki import masterkey  # noqa: E402

masterkey.create(HOME / "master.key")

from project.settings import *  # noqa: E402, F403
from project.settings import DATABASES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, because threads that share a database in memory lock each other out.
    DATABASES["default"]["TEST"] = {"NAME": str(HOME / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON; "
        "PRAGMA secure_delete=ON;"
    )
else:
    DATABASES["default"]["ENGINE"] = "tests.postgresql"
    del DATABASES["default"]["OPTIONS"]["pool"]  # the pool outlives the test database
    # What a test leaves behind need not survive a power cut.
    DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c synchronous_commit=off"

# In this process and emptied by tests; what is counted does not depend on where.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
