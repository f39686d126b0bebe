"""What a browser would send of a page's form, had nobody touched it."""

from __future__ import annotations

from html.parser import HTMLParser

from django.http import HttpResponse


def sent_as_shown(page: HttpResponse, **changed: str | list[str] | None) -> dict[str, list[str]]:
    """The fields of all forms of method POST on a page, with these changed (None: left out)."""
    assert page.status_code == 200
    controls = _Controls()
    controls.feed(page.content.decode())
    for name, value in changed.items():
        controls.sent.pop(name, None)
        if value is not None:
            controls.sent[name] = value if isinstance(value, list) else [value]
    return controls.sent


class _Controls(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self._is_in_form = False
        self._open = ""  # the name of the textarea or selection that is being read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, kind = given.get("name") or "", given.get("type") or "text"
        if tag == "form":
            self._is_in_form = (given.get("method") or "").lower() == "post"
        if tag in ("textarea", "select"):
            self._open = name
        if tag == "option" and "selected" in given:
            self._send(self._open, given.get("value") or "")
        is_off = kind in ("checkbox", "radio") and "checked" not in given
        if tag == "input" and kind not in ("submit", "button", "file") and not is_off:
            self._send(name, given.get("value") or ("on" if kind == "checkbox" else ""))

    def handle_data(self, data: str) -> None:
        if self._open and self.lasttag == "textarea":
            self._send(self._open, data.removeprefix("\n"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_in_form = False
        if tag in ("textarea", "select"):
            self._open = ""

    def _send(self, name: str, value: str) -> None:
        if self._is_in_form and name:
            self.sent.setdefault(name, []).append(value)
