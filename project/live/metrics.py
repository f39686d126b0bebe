"""What the whole deployment counts, in the text format of Prometheus, whichever process is asked.

Counters are the sums of all processes, of those that are gone as well (`project.live.processes`),
so they never fall. What is kept in rows anyway, such as certificates and events, is counted there.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator

from django.db.models import Count, Max, Min, Q, Sum
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chat.models import Room
from pki import endpoints
from pki.models import Certificate, Endpoint, RevocationList
from pki.querysets import valid_at
from project.live import processes
from project.tls.tally import SEPARATOR

DAY = 86_400
COUNTERS = {
    "handshakes": ("signet_handshakes", "TLS handshakes by how they ended", ["endpoint", "result"]),
    "turned_away": (
        "signet_connections_turned_away",
        "Connections closed at once because of a limit",
        ["endpoint", "limit"],
    ),
    "messages": ("signet_messages", "Messages, web requests and answers", ["kind", "direction"]),
    "ocsp": ("signet_ocsp_answers", "OCSP answers by HTTP status", ["status"]),
}


def text(*, at: dt.datetime) -> bytes:
    """One scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Everything(at))
    return generate_latest(registry)


class _Everything(Collector):
    def __init__(self, at: dt.datetime) -> None:
        self._at = at

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from _counters()
        yield from _connections()
        yield from _processes()
        yield from _certificates(self._at)
        yield from _crls(self._at)
        events = Room.objects.aggregate(number=Sum("last_seq"))["number"] or 0
        yield CounterMetricFamily("signet_chat_events", "Events in all rooms", value=events)


def _counters() -> Iterator[Metric]:
    families = {
        key: CounterMetricFamily(name, words, labels=labels)
        for key, (name, words, labels) in COUNTERS.items()
    }
    for counted, number in sorted(processes.counted().items()):
        key, *labels = counted.split(SEPARATOR)
        if key in families and len(labels) == len(COUNTERS[key][2]):
            families[key].add_metric(labels, number)
    yield from families.values()


def _connections() -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "signet_connections", "Connections held now", labels=["endpoint", "kind"]
    )
    limit = GaugeMetricFamily(
        "signet_connections_limit",
        "Connections that one process may hold",
        labels=["endpoint"],
    )
    for (endpoint, kind), number in sorted(processes.held().items()):
        held.add_metric([endpoint, kind], number)
    for row in Endpoint.objects.filter(enabled=True).only("name", "max_connections"):
        limit.add_metric([row.name], row.max_connections)
    yield held
    yield limit


def _processes() -> Iterator[Metric]:
    up = GaugeMetricFamily("signet_process_up", "Serving processes", labels=["process"])
    started = GaugeMetricFamily(
        "signet_process_start_time_seconds", "When it started, in Unix time", labels=["process"]
    )
    for process in processes.living().defer("counters", "held"):
        name = f"{process.host}:{process.pid}"
        up.add_metric([name], 1)
        started.add_metric([name], process.started_at.timestamp())
    yield up
    yield started


def _certificates(at: dt.datetime) -> Iterator[Metric]:
    family = GaugeMetricFamily("signet_certificates", "Certificates", labels=["status"])
    rows = Certificate.objects.order_by()
    unrevoked = Q(revoked_at__isnull=True)
    counted = rows.aggregate(
        valid=Count("pk", filter=valid_at(at)),
        revoked=Count("pk", filter=~unrevoked),
        expired=Count("pk", filter=unrevoked & Q(not_after__lt=at)),
        not_yet_valid=Count("pk", filter=unrevoked & Q(not_before__gt=at)),
    )
    for status, number in counted.items():
        family.add_metric([status], number)
    yield family
    revoked = CounterMetricFamily(
        "signet_revocations", "Revoked certificates; holds that ended are not among them"
    )
    revoked.add_metric([], rows.revoked().exclude(revocation_reason="certificateHold").count())
    yield revoked
    left = GaugeMetricFamily(
        "signet_certificate_next_expiry_days",
        "Days until the next valid certificate of a profile expires",
        labels=["profile"],
    )
    each = rows.active(at).values("profile").annotate(ends=Min("not_after"))
    for profile, ends in each.order_by("profile").values_list("profile", "ends"):
        left.add_metric([profile], _days(ends, at))
    yield left
    served = GaugeMetricFamily(
        "signet_endpoint_certificate_expiry_days",
        "Days until the first of the certificates of an endpoint expires",
        labels=["endpoint"],
    )
    for endpoint in Endpoint.objects.filter(enabled=True, tls=True, certificate__isnull=False):
        ends = min(one.not_after for one in endpoints.certificates_of(endpoint))
        served.add_metric([endpoint.name], _days(ends, at))
    yield served


def _crls(at: dt.datetime) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "signet_crl_age_seconds", "Since the newest CRL was published", labels=["authority"]
    )
    left = GaugeMetricFamily(
        "signet_crl_expiry_seconds", "Until the newest CRL lapses", labels=["authority"]
    )
    newest = (
        RevocationList.objects.filter(kind=RevocationList.Kind.FULL, partition=0)
        .order_by("authority__slug")
        .values("authority__slug")
        .annotate(published=Max("this_update"), lapses=Max("next_update"))
    )
    for row in newest:
        age.add_metric([row["authority__slug"]], (at - row["published"]).total_seconds())
        left.add_metric([row["authority__slug"]], (row["lapses"] - at).total_seconds())
    yield age
    yield left


def _days(end: dt.datetime, at: dt.datetime) -> float:
    """Never more than there is: the console says whole days, rounded down as well."""
    return math.floor((end - at).total_seconds() / DAY * 100) / 100
