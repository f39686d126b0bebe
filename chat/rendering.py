"""A message's Markdown → HTML that is safe to show, and what it names. The only renderer there is.

Two walls: the parser produces no markup of the author's own (raw HTML is text to it), and what it
produces passes an allow-list. No images: they would tell strangers who reads what, and when.
Some rules take long where a body repeats what they look for; beyond a measure that no honest
message has they are left out, and the text stays as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from chat import highlighting

LONGEST = 65_536  # a few hostile bodies grow tenfold; they are shown as plain text instead
LINES, MARKS = 1000, 2000
CELLS = 2000  # short rows are filled up to the width of a table's head
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
TAGS |= {"span", "table", "thead", "tbody", "tr", "th", "td"}
ACTION = re.compile(r"\A/me[ \t]+(?=\S)")
# A name ends where its letters do, or before the dots and dashes that end a sentence.
NAME = re.compile(r"(?<![\w@./+-])@([a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9_])?)", re.IGNORECASE)
NAMES = 50  # different ones in a message; further ones are text


def _allowed(tag: str, name: str, value: str) -> str | None:
    """A link without a host of its own would lead into this site, or say less than it does."""
    if (tag, name) == ("span", "data-user"):
        return value if value.isdecimal() and value.isascii() else None
    return value if name != "href" or ABSOLUTE.match(value) else None


CLEANER = nh3.Cleaner(
    tags=TAGS,
    attributes={"a": {"href"}, "ol": {"start"}, "span": {"data-user"}, "*": set()},
    allowed_classes={"span": {"mention", *highlighting.CLASSES}},
    attribute_filter=_allowed,
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)


class Renderer(RendererHTML):
    """Marks people who are named, and the words of code. `env` says whom and whether."""

    def text(self, tokens: Sequence[Token], idx: int, _options: Any, env: Any) -> str:
        token = tokens[idx]
        if not token.meta.get("names"):
            return escape(token.content)
        return _with_mentions(token.content, env["people"])

    def fence(self, tokens: Sequence[Token], idx: int, _options: Any, env: Any) -> str:
        token = tokens[idx]
        language = (token.info.split() or [""])[0] if env["marks_code"] else ""
        return f"<pre><code>{highlighting.highlight(token.content, language)}</code></pre>\n"


class Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        """Other links are text from the start."""
        return super().validateLink(url) and ABSOLUTE.match(url) is not None


@dataclass(frozen=True)
class Text:
    """A body that was read: the names in it (outside of code and links), and what it holds."""

    body: str
    names: tuple[str, ...] = ()
    has_link: bool = False
    has_code: bool = False
    is_action: bool = False
    _tokens: Sequence[Token] | None = field(default=None, repr=False)
    _without: tuple[str, ...] = ()

    def html(self, people: Mapping[str, int | None]) -> str:
        """As sanitised HTML. `people` are those who are meant by a name: their ids, None of groups."""
        if self._tokens is None:
            return _plain(self.body)
        code = sum(len(t.content) for t in self._tokens if t.type == "fence")
        env = {"people": people, "marks_code": code <= highlighting.LONGEST}
        parser = _parser(self._without)
        html = CLEANER.clean(parser.renderer.render(self._tokens, parser.options, env)).strip()
        return html if len(html) <= LONGEST else _plain(self.body)


def read(body: str) -> Text:
    """Take a body apart. `/me` at its beginning makes it an action, and is not shown."""
    said = ACTION.sub("", body)
    is_action = said != body
    if _is_costly(said):
        return Text(said, is_action=is_action)
    without = _costly_rules(said)
    tokens = _parser(without).parse(said)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *inline)}
    return Text(
        said,
        names=_names(inline),
        has_link="link_open" in kinds,
        has_code=not kinds.isdisjoint({"fence", "code_inline"}),
        is_action=is_action,
        _tokens=tokens,
        _without=without,
    )


def _names(inline: Sequence[Token]) -> tuple[str, ...]:
    """The different names, in their order; marks the tokens that they stand in."""
    found: dict[str, None] = {}
    for token in _outside_of_links(inline):
        names = [name.lower() for name in NAME.findall(token.content)]
        if names:
            token.meta["names"] = True
            found.update(dict.fromkeys(names))
    return tuple(found)[:NAMES]


def _outside_of_links(inline: Sequence[Token]) -> Iterator[Token]:
    depth = 0
    for token in inline:
        depth += token.nesting if token.type.startswith("link_") else 0
        if token.type == "text" and not depth:
            yield token


def _with_mentions(text: str, people: Mapping[str, int | None]) -> str:
    pieces, end = [], 0
    for match in NAME.finditer(text):
        name = match[1].lower()
        if name in people:
            pieces += [escape(text[end : match.start()]), _mention(match[0], people[name])]
            end = match.end()
    return "".join((*pieces, escape(text[end:])))


def _mention(written: str, user_id: int | None) -> str:
    user = f' data-user="{user_id}"' if user_id is not None else ""
    return f'<span class="mention"{user}>{escape(written)}</span>'


def _plain(body: str) -> str:
    return f"<pre>{escape(body)}</pre>"


def _is_costly(body: str) -> bool:
    """It has so many lines, items or levels that it is no text to be laid out."""
    many = len(body.splitlines()) > LINES or len(MARK.findall(body)) > MARKS
    return many or DEEP.search(body) is not None


def _costly_rules(body: str) -> tuple[str, ...]:
    """The rules that would take too long for this body."""
    left_out = [rules for rules, sought, most in COSTLY if len(sought.findall(body)) > most]
    tables = ("table",) if _cells(body) > CELLS else ()
    return (*tables, *(rule for rules in left_out for rule in rules))


def _cells(body: str) -> int:
    """How many the largest table has that this body can be, at most."""
    lines = body.replace("\r", "\n").split("\n")
    return len(lines) * max(line.count("|") for line in lines)


@cache
def _parser(without: tuple[str, ...] = ()) -> MarkdownIt:
    options = {"html": False, "linkify": True, "breaks": True, "maxNesting": 20}
    parser = Markdown("commonmark", options, renderer_cls=Renderer)
    parser.enable(["linkify", "strikethrough", "table"]).disable([*OFF, *without])
    assert parser.linkify is not None
    parser.linkify.set({"fuzzy_link": False})  # notes.py is a file, not a site in Paraguay
    return parser
