"""The console: a certificate says who somebody is, and their password unlocks it.

What always holds here:
  1. nobody is in the console but an open staff account whose very certificate of this connection
     unlocked this session with the password the account has now;
  2. five wrong passwords within five minutes close the door to that person for five minutes;
  3. no page answers 403 (Safari would show its certificate picker, again and again): who may not
     see something gets a page that says so, with 404;
  4. what the PKI refuses becomes a sentence, never an error of the server;
  5. a list is filtered by what its page declares, and by no other column.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Callable
from functools import wraps
from typing import Any

from csp.decorators import csp_replace
from django.conf import settings
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import get_fields_from_path
from django.core.cache import cache
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import DataError, models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite

from pki import audit
from pki.errors import NotAllowedError, PKIError
from pki.identity import Identity
from pki.models import User

View = Callable[..., HttpResponse]

SESSION_KEY = "console"
WRONG_PASSWORDS = 5
LOCKOUT = dt.timedelta(minutes=5)
LOCKOUT_SECONDS = int(LOCKOUT.total_seconds())
NEXT = "next"


# --- Lock and unlock ------------------------------------------------------------------------


def may_enter(request: HttpRequest) -> bool:
    """Whether this person may unlock the console at all."""
    identity = _identity(request)
    user = request.user
    return identity is not None and user.is_active and getattr(user, "is_staff", False)


def is_unlocked(request: HttpRequest) -> bool:
    """Whether this session was unlocked by this certificate, with the password of today."""
    identity, known = _identity(request), request.session.get(SESSION_KEY)
    if identity is None or not isinstance(known, dict):
        return False
    expected = _key_of(request)
    return all(hmac.compare_digest(str(known.get(k, "")), v) for k, v in expected.items())


def unlock(*, request: HttpRequest, password: str, at: dt.datetime) -> None:
    """Unlock the console for this session and certificate; writes an audit entry.

    Refuses (NotAllowedError) a wrong password, and every password for five minutes after five
    wrong ones within five minutes; that lock-out is written to the audit trail too.
    """
    user = request.user
    assert isinstance(user, User)
    tried = _count_password(user)  # before looking at it: many may be sent at once
    if tried > WRONG_PASSWORDS:
        raise NotAllowedError(LOCKED_OUT)
    if not user.check_password(password):
        if tried == WRONG_PASSWORDS:
            cache.set(_tried_key(user), tried, LOCKOUT_SECONDS)
            _record(request, "console.locked_out", at)
            raise NotAllowedError(LOCKED_OUT)
        raise NotAllowedError("This is not your console password.")
    cache.delete(_tried_key(user))
    _record(request, "console.unlocked", at)  # what cannot be recorded is not unlocked
    request.session.flush()
    rotate_token(request)
    _remember(request)


def lock(request: HttpRequest) -> None:
    """Lock the console for this session."""
    request.session.flush()


LOCKED_OUT = (
    f"{WRONG_PASSWORDS} wrong passwords: your console is locked. "
    f"Try again in {LOCKOUT_SECONDS // 60} minutes."
)


def _count_password(user: User) -> int:
    """How many passwords were tried since the last right one, with this one."""
    key = _tried_key(user)
    cache.add(key, 0, LOCKOUT_SECONDS)
    try:
        tried = cache.incr(key)
    except ValueError:  # the five minutes ended between the two lines
        return _count_password(user)
    if tried == 1:
        cache.touch(key, LOCKOUT_SECONDS)  # Redis may have made it anew, for ever
    return tried


def _tried_key(user: User) -> str:
    return f"console:tried:{user.pk}"


def _identity(request: HttpRequest) -> Identity | None:
    return getattr(request, "identity", None)


def _key_of(request: HttpRequest) -> dict[str, str]:
    """What a session must remember to be unlocked: who, with which certificate and password."""
    identity = _identity(request)
    assert identity is not None
    assert isinstance(request.user, User)
    return {
        "user": str(identity.user_id),
        "sha256": identity.sha256,
        "password": request.user.get_session_auth_hash(),
    }


def _remember(request: HttpRequest) -> None:
    request.session[SESSION_KEY] = _key_of(request)


def _record(request: HttpRequest, action: str, at: dt.datetime) -> None:
    identity = _identity(request)
    assert identity is not None
    with transaction.atomic():
        audit.record(
            actor=identity.username,
            action=action,
            target=identity.username,
            detail={"certificate": identity.serial, "device": identity.device},
            at=at,
        )


# --- Filters of lists -----------------------------------------------------------------------

DATE_PARTS = {"year": range(1000, 9999), "month": range(1, 13), "day": range(1, 32)}
LARGEST_KEY = models.BigAutoField.MAX_BIGINT
LONGEST_SEARCH = 200  # letters


class DeclaredFilters(ModelAdmin):
    """What every page of the console is mixed with when it is registered.

    Django lets a query string ask about every column of the model, so that a hash could be guessed
    letter by letter (`?password__startswith=`). Here it asks what `list_filter` and
    `date_hierarchy` declare; everything else is a bad request.
    """

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        part = lookup.removeprefix(f"{self.date_hierarchy}__")
        if self.date_hierarchy and part != lookup:
            return part in DATE_PARTS and is_number(value, DATE_PARTS[part])
        return any(lookup in self._asks_for(f) for f in self.get_list_filter(request))

    def _asks_for(self, declared: Any) -> set[str]:
        if isinstance(declared, type):
            return {getattr(declared, "parameter_name", "")}
        name = declared[0] if isinstance(declared, list | tuple) else declared
        field: Any = get_fields_from_path(self.model, name)[-1]
        target = f"__{field.target_field.name}" if field.is_relation else ""
        return {name, f"{name}{target}__exact", f"{name}__isnull"}

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """The beginning counts: no database takes a condition for each of a thousand words."""
        found: tuple[Any, bool] = super().get_search_results(
            request, queryset, search_term[:LONGEST_SEARCH]
        )
        return found

    def response_action(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(is_number(key, range(1, LARGEST_KEY + 1)) for key in keys):
            raise BadRequest("Rows are selected by their number.")
        response: HttpResponse | None = super().response_action(request, queryset)
        return response


def is_number(text: str, allowed: range) -> bool:
    return len(text) < 20 and text.isascii() and text.isdigit() and int(text) in allowed


# --- The site -------------------------------------------------------------------------------


class ConsoleSite(UnfoldAdminSite):
    """The admin site behind both locks, with the console's own content security policy."""

    site_header = "Signet"
    index_title = "Overview"

    def has_permission(self, request: HttpRequest) -> bool:
        return may_enter(request) and is_unlocked(request)

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        page = admin_class or ModelAdmin
        guarded = type(page.__name__, (DeclaredFilters, page), {"__module__": page.__module__})
        super().register(model_or_iterable, guarded, **options)

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not may_enter(request):
                return self.deny(request, "The console is for administrators.")
            if _has_nul(request):
                raise BadRequest("No text of ours has a NUL in it.")  # PostgreSQL stores none
            try:
                response: HttpResponse = inner(request, *args, **kwargs)
            except PermissionDenied as error:
                return self.deny(request, str(error) or "You may not see or do this.")
            except PKIError as error:
                self.record(request, error)
                return self.refuse(request, str(error), status=409)
            except (OverflowError, DataError) as error:
                raise BadRequest("A number is larger than any of ours.") from error
            return response

        with_policy: View = csp_replace(settings.CONSOLE_CSP)(guarded)
        return with_policy

    def record(self, request: HttpRequest, error: PKIError) -> None:
        """What was refused, where the verb itself did not record it: something sent, by a person."""
        sent = request.method == "POST"
        username = getattr(request.user, "username", "")
        audit.record_refusal(
            error, actor=username, action="console" if sent else "", target=request.path
        )

    def deny(self, request: HttpRequest, reason: str) -> HttpResponse:
        """For whoever lacks the right, be it to look, export or act; recorded of a known person."""
        username = getattr(request.user, "username", "")
        error = NotAllowedError(reason)
        audit.record_refusal(error, actor=username, action="console", target=request.path)
        return self.refuse(request, reason)

    def refuse(self, request: HttpRequest, reason: str, *, status: int = 404) -> HttpResponse:
        context = {**self.each_context(request), "title": "Not for you", "reason": reason}
        if status != 404:
            context["title"] = "This did not work"
        context["inside"] = self.has_permission(request)
        return TemplateResponse(request, "pki/console_refused.html", context, status=status)

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self._login(request)

    @property
    def _login(self) -> View:
        view = csrf_protect(never_cache(sensitive_post_parameters("password")(self._login_page)))
        with_policy: View = csp_replace(settings.CONSOLE_CSP)(view)
        return with_policy

    def _login_page(self, request: HttpRequest) -> HttpResponse:
        if not may_enter(request):
            return self.refuse(request, "The console is for administrators.")
        onward = self._onward(request)
        if is_unlocked(request):
            return HttpResponseRedirect(onward)
        refusal = ""
        if request.method == "POST":
            try:
                unlock(
                    request=request, password=request.POST.get("password", ""), at=timezone.now()
                )
                return HttpResponseRedirect(onward)
            except PKIError as error:
                refusal = str(error)
        return self._ask_for_password(request, onward=onward, refusal=refusal)

    def _ask_for_password(self, request: HttpRequest, *, onward: str, refusal: str) -> HttpResponse:
        user = request.user
        assert isinstance(user, User)
        context = {
            **self.each_context(request),
            "title": "Unlock the console",
            "identity": _identity(request),
            "onward": onward,
            "refusal": refusal,
            "has_password": user.has_usable_password(),
        }
        return TemplateResponse(request, "admin/login.html", context)

    def _onward(self, request: HttpRequest) -> str:
        """Where to go after unlocking: only to a page of this very site."""
        wanted = request.POST.get(NEXT) or request.GET.get(NEXT) or ""
        allowed = url_has_allowed_host_and_scheme(
            wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        )
        return wanted if allowed else reverse("admin:index", current_app=self.name)

    def logout(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        lock(request)
        messages.success(request, "The console is locked.")
        return redirect("admin:login")

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with transaction.atomic():
            response: HttpResponse = super().password_change(request, extra_context)
            if response.status_code == 302:
                _record(request, "person.password_changed", timezone.now())
                _remember(request)
        return response

    def search(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The theme's search over page names is not used; each list has its own."""
        return redirect("admin:index")


def _has_nul(request: HttpRequest) -> bool:
    texts = [request.path, *(text for pair in request.GET.lists() for text in (pair[0], *pair[1]))]
    return any("\0" in text for text in texts)
