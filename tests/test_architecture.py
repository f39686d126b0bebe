"""The structure that the code promises: arrows, reserved words, and the README's map."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for package in ("pki", "chat", "project")
    for path in (REPOSITORY / package).rglob("*.py")
    if "migrations" not in path.parts
)
PKI_FACE = {"pki.audit", "pki.identity", "pki.signals"}
PKI_STAGES = [
    {
        "algorithms",
        "answers",
        "certificate_parts",
        "description",
        "errors",
        "files",
        "lint",
        "masterkey",
        "people_list",
        "profiles",
        "signals",
    }
    | {"bundles", "compliance", "crl_lint", "crl_tbs", "progress", "tbs", "tokens", "trustpath"}
    | {"constraints", "excess", "identity_files", "weak_keys"},
    {"models", "querysets"},
    {"addresses", "audit", "audit_chain", "audit_head", "changes", "keys", "names"}
    | {"operations", "permissions"},
    {
        "authorities",
        "crl",
        "crl_publication",
        "handout",
        "issuance",
        "ocsp",
        "people",
        "revocation",
        "truststore",
    }
    | {"adoption", "catalogue", "holdings", "imports", "lockouts", "outside", "responder", "roster"}
    | {"server_certificates", "signatory", "wanted"},
    {"certification", "endpoints", "probes", "enrolment", "identity", "invitations"}
    | {"server_renewal"}
    | {"succession", "upkeep"},
]
CHAT_STAGES = [
    {
        "errors",
        "fields",
        "files",
        "highlighting",
        "lanes",
        "pictures",
        "presence",
        "protocol",
        "rendering",
        "requests",
        "scanning",
        "search_query",
        "session",
    },
    {"models", "querysets"},
    {
        "certificates",
        "company",
        "connection",
        "delivery",
        "fanout",
        "hub",
        "lookalikes",
        "log",
        "mentions",
        "permissions",
        "places",
        "recheck",
        "standing",
        "trail",
    },
    {
        "attachments",
        "directory",
        "export",
        "members",
        "messages",
        "moderation",
        "oversight",
        "reading",
    }
    | {"pins", "reactions", "redaction", "retention", "rooms", "search"},
    {"shell"},
]


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def package_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).parts[0]


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_arrows_point_from_project_to_chat_to_the_face_of_pki(path):
    ours = [m for m in imports(path) if m.split(".")[0] in ("pki", "chat", "project")]
    if package_of(path) == "pki":
        assert not [m for m in ours if not m.startswith("pki")]
    if package_of(path) == "chat":
        foreign = [m for m in ours if not m.startswith("chat")]
        assert not [
            m
            for m in foreign
            if not any(m == f or m.startswith(f + ".") for f in PKI_FACE) and m != "pki"
        ]


@pytest.mark.parametrize(
    ("package", "stages"), [("pki", PKI_STAGES), ("chat", CHAT_STAGES)], ids=["pki", "chat"]
)
def test_files_import_lower_stages_only(package, stages):
    stage_of = {module: number for number, stage in enumerate(stages) for module in stage}
    for module, number in stage_of.items():
        if not (REPOSITORY / package / f"{module}.py").exists():
            continue
        for imported in imports(REPOSITORY / package / f"{module}.py"):
            parts = imported.split(".")
            if parts[0] == package and len(parts) > 1:
                other = parts[1]
                assert stage_of.get(other, len(stages)) <= number, f"{module} imports {other}"


def test_every_module_of_the_chat_has_its_tests():
    """Registration has none; the console's forms are tried in its pages."""
    modules = {path.stem for path in (REPOSITORY / "chat").glob("*.py")}
    tests = {path.stem for path in (REPOSITORY / "tests" / "chat").glob("test_*.py")}
    assert {f"test_{name}" for name in modules - {"__init__", "apps", "forms", "urls"}} == tests


def test_only_revocation_assigns_revoked_at():
    writes = re.compile(r"revoked_at\s*=[^=]|revocation_reason\s*=[^=]")
    allowed = {"pki/revocation.py", "pki/models.py"}
    found = {
        name(path)
        for path in SOURCES
        for line in path.read_text().splitlines()
        if writes.search(line) and ("update(" in line or ".revoked_at =" in line)
    }
    assert found <= allowed


def test_only_keys_opens_a_private_key():
    """Those in files that are handed in are opened in a process of its own first."""
    opening = re.compile(r"load_(der|pem)_private_key|\.wrapped\b")
    found = {name(path) for path in SOURCES if opening.search(path.read_text())}
    assert found == {"pki/keys.py", "pki/identity_files.py"}


def test_only_fanout_names_channel_layer_groups():
    using = re.compile(r"group_(send|add|discard)")
    assert {name(path) for path in SOURCES if using.search(path.read_text())} == {"chat/fanout.py"}


def test_readme_maps_verbs_to_files_that_exist():
    rows = re.findall(
        r"^\| \w+ \| `([\w/]+\.py)` \|$", (REPOSITORY / "README.md").read_text(), re.M
    )
    assert len(rows) >= 8
    assert [row for row in rows if not (REPOSITORY / row).exists()] == []


def test_repository_names_no_path_of_a_machine():
    for path in SOURCES:
        assert not re.search(r"/(home|root|work)/\w", path.read_text()), name(path)
