"""Settings, read from the environment. docs/settings.md lists the variables."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import dj_database_url
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.templatetags.static import static

from pki import addresses, masterkey
from pki.errors import MasterKeyError
from project import environment

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where things are -----------------------------------------------------------------------
SIGNET_HOME = Path(os.environ.get("SIGNET_HOME", BASE_DIR / "var")).resolve()
SIGNET_MASTER_KEY_FILE = Path(
    os.environ.get("SIGNET_MASTER_KEY_FILE", SIGNET_HOME / "master.key")
).resolve()
# Lists of keys that may not be certified (pki/weak_keys.py): a file or a directory of them
SIGNET_WEAK_KEYS = os.environ.get("SIGNET_WEAK_KEYS", "")
# Keys of CAs may live on a PKCS #11 token instead; no password stands in the environment.
SIGNET_PKCS11_MODULE, SIGNET_PKCS11_TOKEN, SIGNET_PKCS11_PIN_FILE = environment.token(
    "SIGNET_PKCS11_MODULE", "SIGNET_PKCS11_TOKEN", "SIGNET_PKCS11_PIN_FILE"
)
SIGNET_HOSTS = environment.hosts("SIGNET_HOST", default="localhost")
SIGNET_PORTS = {
    "main": environment.port("SIGNET_PORT", default=8443),
    "enrol": environment.port("SIGNET_ENROL_PORT", default=8444),
    "public": environment.port("SIGNET_HTTP_PORT", default=8080),
}
# Where people reach the endpoints that stand behind a proxy
SIGNET_PROXY_PORTS = {
    "https": environment.port("SIGNET_PROXY_PORT", default=443),
    "http": environment.port("SIGNET_PROXY_HTTP_PORT", default=80),
}
SIGNET_ENROL_HOST = environment.one_of("SIGNET_ENROL_HOST", SIGNET_HOSTS)
ON_LOOPBACK = set(SIGNET_HOSTS) <= {"localhost", "127.0.0.1", "::1"}
environment.make_home("SIGNET_HOME", SIGNET_HOME)

# --- Secrets --------------------------------------------------------------------------------
# Derived from the master key, so that every process and machine that shares the key agrees.
# Before the first bootstrap there is no session to protect, and a passing key will do.
try:
    SECRET_KEY = masterkey.load(SIGNET_MASTER_KEY_FILE).derive("django secret key").hex()
except MasterKeyError:
    SECRET_KEY = secrets.token_hex(32)

# --- Application ----------------------------------------------------------------------------
DEBUG = environment.boolean("SIGNET_DEBUG", default=False)
ALLOWED_HOSTS = [addresses.bracketed(host) for host in addresses.with_loopback(SIGNET_HOSTS)]
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # the plain one: the console brings its own admin site
    "pki.console_app.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "pki",
    "chat",
    "project",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "project.statics.StaticMiddleware",
    "project.middleware.EndpointMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "pki.middleware.IdentityMiddleware",
    "project.middleware.NoteMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "project.views.links",
            ],
        },
    },
]
AUTH_USER_MODEL = "pki.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "project.statics.VersionedStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 0 if DEBUG else 300

# --- Database and channel layer -------------------------------------------------------------
DATABASE_URL = environment.url("DATABASE_URL", schemes={"postgres", "postgresql", "sqlite"})
DATABASES = {
    "default": dj_database_url.parse(
        DATABASE_URL or f"sqlite:///{SIGNET_HOME / 'signet.sqlite3'}",
        conn_max_age=0,
    )
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A writer takes the lock when it begins (no upgrade dead-locks), readers go on in WAL mode,
    # a commit is on disk before it is acknowledged, and what is deleted is overwritten.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
        "PRAGMA secure_delete=ON;",
    }
    DATABASES["default"]["CONN_MAX_AGE"] = None
else:
    # A server that vanished without a word is given up, by whoever waits for its answer too.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 10,
        "tcp_user_timeout": 20_000,  # milliseconds
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        **DATABASES["default"].get("OPTIONS", {}),
    }
    # Each request has a thread of its own; they share these and wait their turn.
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 1,
        "max_size": environment.number("SIGNET_DATABASE_CONNECTIONS", default=20, most=1000),
        "timeout": 10,
    }

REDIS_URL = environment.url("REDIS_URL", schemes={"redis", "rediss", "unix"})
CHANNEL_LAYERS: dict[str, dict[str, object]] = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 5000}}
}
if REDIS_URL:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # redis-py 8 gives up on a blocking read after 5 s unless told otherwise
            "hosts": [{"address": REDIS_URL, "socket_timeout": 30}],
            "capacity": 5000,
            "prefix": os.environ.get("SIGNET_REDIS_PREFIX", "signet"),
            "symmetric_encryption_keys": [SECRET_KEY],
        },
    }

if REDIS_URL:
    # What all processes count together, such as wrong console passwords.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": os.environ.get("SIGNET_REDIS_PREFIX", "signet"),
        }
    }

# --- OCSP ---------------------------------------------------------------------------------------
# Signed answers kept in memory by each process; one takes about 1.5 kB.
SIGNET_OCSP_ANSWERS = environment.number("SIGNET_OCSP_ANSWERS", default=10_000, most=1_000_000)

# --- What is taken over HTTP ----------------------------------------------------------------
SIGNET_HEAD_SECONDS = environment.number("SIGNET_HEAD_SECONDS", default=15, most=600)
SIGNET_BODY_SECONDS = environment.number("SIGNET_BODY_SECONDS", default=60, most=3600)
SIGNET_BODY_BYTES = environment.number("SIGNET_BODY_BYTES", default=256 * 1024, most=64 * 1024**2)
SIGNET_IDLE_SECONDS = environment.number("SIGNET_IDLE_SECONDS", default=60, most=3600)
DATA_UPLOAD_MAX_MEMORY_SIZE = SIGNET_BODY_BYTES  # the endpoint refuses more before it is read

# --- Files that people attach ---------------------------------------------------------------
SIGNET_UPLOAD_BYTES = environment.number(
    "SIGNET_UPLOAD_BYTES", default=25 * 1024**2, most=64 * 1024**3
)
SIGNET_UPLOAD_QUOTA = environment.number("SIGNET_UPLOAD_QUOTA", default=1024**3, most=2**50)
SIGNET_SCAN_COMMAND = environment.command("SIGNET_SCAN_COMMAND")

# --- Monitoring -----------------------------------------------------------------------------
# Who reads /metrics without a certificate of somebody who uses the console.
SIGNET_METRICS_FROM = environment.networks("SIGNET_METRICS_FROM", default="127.0.0.0/8,::1")

# --- Processes ------------------------------------------------------------------------------
# How long a process that stops waits for the answers it is giving
SIGNET_DRAIN_SECONDS = environment.number("SIGNET_DRAIN_SECONDS", default=30, most=3600)

# --- Browser security -----------------------------------------------------------------------
SESSION_COOKIE_NAME = "__Host-signet-session"
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_AGE = 8 * 3600
CSRF_COOKIE_NAME = "__Host-signet-csrf"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_FAILURE_VIEW = "project.views.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
# Not no-referrer: then browsers send "Origin: null" with our own forms, and CSRF refuses them.
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Strict-Transport-Security counts for a host on all its ports, so never for localhost.
SECURE_HSTS_SECONDS = 0 if ON_LOOPBACK else 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = False
SECURE_HSTS_PRELOAD = False
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # sub-domains are not ours to decide,
    "security.W021",  # nor are preload lists
    "security.W008",  # plain HTTP serves project.urls_public alone, which redirects the rest
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        # Text becomes markup in one place alone (chat/static/chat/trusted.js).
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["signet"],
    }
}
# The console's theme evaluates the expressions in its attributes (Alpine), sets inline styles and
# makes markup of text; inline script stays forbidden there too.
CONSOLE_CSP = {
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
    "require-trusted-types-for": None,
    "trusted-types": None,
}

# --- Console --------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "Signet",
    "SITE_HEADER": "Signet",
    "SITE_SUBHEADER": "Certificates and chat",
    "SITE_ICON": lambda request: static("site/signet.svg"),
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("site/signet.svg")}
    ],
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "BORDER_RADIUS": "8px",
    "DASHBOARD_CALLBACK": "project.admin.dashboard.fill",
    "STYLES": [lambda request: static("pki/console.css")],
    "SCRIPTS": [lambda request: static("pki/console.js")],
    "SIDEBAR": {"show_search": False, "navigation": "project.navigation.sidebar"},
    "COLORS": {
        "base": {
            "50": "#f8f7f3",
            "100": "#f0eee8",
            "200": "#dfdcd2",
            "300": "#c6c6bd",
            "400": "#929b96",
            "500": "#646f6b",
            "600": "#4a5753",
            "700": "#37423e",
            "800": "#262e2b",
            "900": "#151b19",
            "950": "#0f1413",
        },
        "primary": {
            "50": "#eef7f4",
            "100": "#dcece6",
            "200": "#bcdcd2",
            "300": "#93e0cf",
            "400": "#6cd0ba",
            "500": "#3fb39c",
            "600": "#0b6557",
            "700": "#084e43",
            "800": "#0a4038",
            "900": "#17332d",
            "950": "#06241e",
        },
    },
}

# --- Logging --------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {
        "hide_tokens": {"()": "project.logs.HideTokens"},
        "name_hosts": {"()": "project.logs.NameHosts"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["hide_tokens"],
        }
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "project": {"level": "INFO"},
        "pki": {"level": "INFO"},
        "chat": {"level": "INFO"},
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"filters": ["name_hosts"]},
    },
}
