"""A message's Markdown → HTML that is safe to show. The only renderer there is.

Two walls: the parser produces no markup of the author's own (raw HTML is text to it), and what it
produces passes an allow-list. No images: they would tell strangers who reads what, and when.
Some rules take long where a body repeats what they look for; beyond a measure that no honest
message has they are left out, and the text stays as it was written.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape

import nh3
from markdown_it import MarkdownIt

LONGEST = 65_536  # a few hostile bodies grow tenfold; they are shown as plain text instead
LINES, MARKS = 1000, 2000
DEEP = re.compile(r"^(?:[ \t]*(?:>|(?:[-+*]|\d{1,9}[.)])(?=[ \t]|$))){9}", re.MULTILINE)
MARK = re.compile(r"[-+*.)]\s")  # an item of a list, or the end of a sentence
OFF = ["image", "heading", "lheading", "reference", "code", "html_block", "html_inline"]
COSTLY = (
    (("linkify", "autolink"), re.compile(r"//|@|(?:https?|ftp|mailto):", re.IGNORECASE), 100),
    (("autolink",), re.compile("<"), 500),
    (("link",), re.compile(r"\["), 100),
    (("emphasis", "strikethrough"), re.compile(r"[*_~]"), 2000),
)
ABSOLUTE = re.compile(r"(?:https?://[^/\\]|mailto:.)", re.IGNORECASE)
TAGS = {"p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"}


def _absolute_links_only(_tag: str, name: str, value: str) -> str | None:
    """A link without a host of its own would lead into this site, or say less than it does."""
    return value if name != "href" or ABSOLUTE.match(value) else None


CLEANER = nh3.Cleaner(
    tags=TAGS,
    attributes={"a": {"href"}, "ol": {"start"}, "*": set()},
    attribute_filter=_absolute_links_only,
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)


class Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        """Other links are text from the start."""
        return super().validateLink(url) and ABSOLUTE.match(url) is not None


def render(body: str) -> str:
    """The body as sanitised HTML."""
    if _is_costly(body):
        return _plain(body)
    html = CLEANER.clean(_parser(_costly_rules(body)).render(body)).strip()
    return html if len(html) <= LONGEST else _plain(body)


def _plain(body: str) -> str:
    return f"<pre>{escape(body)}</pre>"


def _is_costly(body: str) -> bool:
    """It has so many lines, items or levels that it is no text to be laid out."""
    many = len(body.splitlines()) > LINES or len(MARK.findall(body)) > MARKS
    return many or DEEP.search(body) is not None


def _costly_rules(body: str) -> tuple[str, ...]:
    """The rules that would take too long for this body."""
    left_out = [rules for rules, sought, most in COSTLY if len(sought.findall(body)) > most]
    return tuple(rule for rules in left_out for rule in rules)


@cache
def _parser(without: tuple[str, ...] = ()) -> MarkdownIt:
    options = {"html": False, "linkify": True, "breaks": True, "maxNesting": 20}
    parser = Markdown("commonmark", options)
    parser.enable(["linkify", "strikethrough"]).disable([*OFF, *without])
    assert parser.linkify is not None
    parser.linkify.set({"fuzzy_link": False})  # notes.py is a file, not a site in Paraguay
    return parser
