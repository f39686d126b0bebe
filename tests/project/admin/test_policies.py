"""What the console shows of an endpoint that only the serving side knows."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from django.utils import timezone

from pki import audit
from project.models import Process
from project.tls import context
from tests.factories import make_endpoint
from tests.pki.admin.conftest import text_of

LIST = "/console/pki/endpoint/"
NOT_HAD = "not served</span>"
STARTING = "starting</span>"


@pytest.fixture
def endpoint(pki):
    return make_endpoint(pki, pki.truststore)


def serve(*names):
    Process.objects.create(
        id=uuid.uuid4(),
        host="here",
        pid=1,
        started_at=timezone.now(),
        seen_at=timezone.now(),
        held={name: {} for name in names},
    )


def test_page_shows_what_each_policy_admits(console, endpoint):
    shown = text_of(console.get(f"{LIST}{endpoint.pk}/change/"))
    assert "What each policy admits" in shown
    for suite in context.admitted("intermediate").suites:
        assert suite in shown


def test_policies_are_read_off_the_contexts():
    modern, intermediate = context.admitted("modern"), context.admitted("intermediate")
    assert (modern.versions, intermediate.versions) == (("TLS 1.3",), ("TLS 1.3", "TLS 1.2"))
    assert set(modern.suites) < set(intermediate.suites)
    assert all(suite.startswith("TLS_") for suite in modern.suites)
    assert all("ECDHE" in suite for suite in set(intermediate.suites) - set(modern.suites))
    assert modern.bits == intermediate.bits == 112


def test_endpoint_that_a_process_does_not_have_is_said(console, endpoint):
    assert NOT_HAD not in text_of(console.get(LIST))  # nobody serves: nobody could say
    serve("main", "enrol")
    assert NOT_HAD not in text_of(console.get(LIST))
    serve("enrol")
    assert NOT_HAD in text_of(console.get(LIST))


def test_endpoint_that_was_changed_just_now_is_starting(console, endpoint):
    now = timezone.now()
    serve("enrol")
    audit.record(actor="a", action="endpoint.changed", target="main", detail={}, at=now)

    shown = text_of(console.get(LIST))
    assert STARTING in shown
    assert NOT_HAD not in shown

    served = Process.objects.get()
    served.held["main"] = {}
    served.save()
    assert STARTING not in text_of(console.get(LIST))


def test_endpoint_that_was_changed_a_while_ago_is_missed(console, endpoint):
    before = timezone.now() - dt.timedelta(seconds=20)
    serve("enrol")
    audit.record(actor="a", action="endpoint.created", target="main", detail={}, at=before)
    audit.record(actor="a", action="endpoint.changed", target="enrol", detail={}, at=timezone.now())

    shown = text_of(console.get(LIST))
    assert NOT_HAD in shown
    assert STARTING not in shown


def test_endpoint_that_no_process_has_is_said(console, endpoint):
    serve()
    assert NOT_HAD in text_of(console.get(LIST))
