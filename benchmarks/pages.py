"""What pages of the console cost when there are many certificates.

    python benchmarks/pages.py [--certificates 100000] [--revoked 20000]
                               [--database postgres://postgres@127.0.0.1:5432/postgres]

The deployment is that of `authority.py`. An administrator opens each page through all middleware,
once to warm up and then some times more; the median is shown, and what its queries took of it.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from authority import BATCH, Scene, parse, scenery

TIMES = 5
SLOW_MS = 300


def main() -> None:
    arguments = parse()
    with scenery(arguments) as scene:
        scene.fill(arguments.certificates, arguments.revoked)
        visitor = administrator(scene)
        where = "PostgreSQL" if arguments.database else "SQLite"
        print(f"{arguments.certificates:,} certificates on {where}\n")
        print(f"| page (goal: {SLOW_MS} ms) | median | of that, queries | slowest query |")
        print("|---|---|---|---|")
        for name, path in pages(scene).items():
            print(f"| {name} | {measured(visitor, path)} |")


def administrator(scene: Scene) -> Any:
    """Somebody in the console, with a certificate in their browser."""
    from django.conf import settings

    from pki import truststore
    from tests import factories
    from tests.pki.client import PASSWORD, ConsoleVisitor

    settings.ALLOWED_HOSTS.append("testserver")
    store = truststore.create_truststore(actor="benchmark", name="staff", at=scene.at)
    root = scene.authority.parent
    truststore.add_anchor(actor="benchmark", truststore=store, authority=root, at=scene.at)
    admin = factories.make_person("admin", is_staff=True, is_superuser=True, password=PASSWORD)
    visitor = ConsoleVisitor(factories.make_device(admin, scene.authority).chain)
    visitor.unlock(PASSWORD)
    return visitor


def pages(scene: Scene) -> dict[str, str]:
    from pki import crl
    from pki.models import AuditEntry, Certificate, User

    console, newest = "/console/pki", crl.latest(scene.authority)
    some = scene.authority.issued.filter(owner=scene.people[0])[0]
    for number in range(BATCH):  # somebody, or something, that asks for certificates all day
        some.owner, some.pk, some.serial = scene.owner, None, f"{number + 1:x}"
        some.sha256 = f"{number:064x}"
        some.save(force_insert=True)
    return {
        "dashboard": "/console/",
        "certificates": f"{console}/certificate/",
        "certificates, last page": f"{console}/certificate/?p={Certificate.objects.count() // 50}",
        "certificates, revoked": f"{console}/certificate/?status=revoked",
        "certificates, valid ones by expiry": f"{console}/certificate/?status=valid&o=5",
        "certificates, search by name": f"{console}/certificate/?q=person-77",
        "certificates, search by serial": f"{console}/certificate/?q={some.serial}",
        "one certificate": f"{console}/certificate/{some.pk}/change/",
        "people": f"{console}/user/",
        "people without a valid certificate": f"{console}/user/?certificate=no",
        "a person": f"{console}/user/{scene.people[0].pk}/change/",
        f"a person with {BATCH:,} certificates": f"{console}/user/{scene.owner.pk}/change/",
        "CAs": f"{console}/certificateauthority/",
        "a CA": f"{console}/certificateauthority/{scene.authority.pk}/change/",
        "CRLs": f"{console}/revocationlist/",
        "a CRL": f"{console}/revocationlist/{newest.pk}/change/" if newest else "",
        f"audit trail of {AuditEntry.objects.count()}": f"{console}/auditentry/",
        f"links ({User.objects.count():,} people)": f"{console}/invitation/",
        "devices of the person": "/devices/",
    }


def measured(visitor: Any, path: str) -> str:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    took, queried, slowest = [], [], (0.0, "")
    for number in range(TIMES + 1):
        with CaptureQueriesContext(connection) as captured:
            begun = time.perf_counter()
            status = visitor.get(path).status_code
            seconds = time.perf_counter() - begun
        if status != 200:
            return f"status {status} | | "
        if number:
            took.append(seconds * 1000)
            each = [(float(query["time"]) * 1000, query["sql"]) for query in captured]
            queried.append(sum(time for time, _ in each))
            slowest = max([slowest, *each])
    sql = slowest[1][:160].replace("|", "/") if slowest[0] > SLOW_MS / 3 else ""
    mark = " **slow**" if statistics.median(took) > SLOW_MS else ""
    return (
        f"{statistics.median(took):,.0f} ms{mark} | {statistics.median(queried):,.0f} ms "
        f"in {len(captured)} | {slowest[0]:,.0f} ms {sql}"
    )


if __name__ == "__main__":
    main()
