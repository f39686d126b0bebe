"""Fenced code → the same text with its words marked, as HTML of spans with classes and no more.

What always holds: the text is the author's, to the letter; a class is one of CLASSES.
Some lexers take long where a text repeats what they look for, so only code of a measure that one
reads in a chat is marked, in languages that were tried with hostile texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from html import escape
from itertools import groupby

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, Comment, Generic, Keyword, Name, Number, Operator, String
from pygments.token import _TokenType as TokenType

LONGEST, LINES, WIDTH = 4000, 200, 200

# What authors write behind the fence → the lexer. Java's own takes a second for a page of prose.
LANGUAGES = {
    **{"sh": "bash", "shell": "bash", "zsh": "bash", "py": "python", "python3": "python"},
    **{"js": "javascript", "jsx": "javascript", "ts": "typescript", "tsx": "typescript"},
    **{"c++": "cpp", "h": "c", "cs": "csharp", "c#": "csharp", "rb": "ruby", "rs": "rust"},
    **{"golang": "go", "kt": "kotlin", "java": "typescript", "yml": "yaml", "patch": "diff"},
    **{"dockerfile": "docker", "make": "makefile", "md": "markdown", "ps1": "powershell"},
    **{"postgresql": "sql", "postgres": "sql", "conf": "ini", "cfg": "ini", "jsonc": "json"},
} | {
    name: name
    for name in (
        *("bash", "c", "cpp", "csharp", "css", "diff", "docker", "go", "html", "ini", "javascript"),
        *("json", "kotlin", "lua", "makefile", "markdown", "nginx", "perl", "php", "powershell"),
        *("python", "ruby", "rust", "sql", "swift", "toml", "typescript", "xml", "yaml"),
    )
}
MARKED = {
    *(Comment, Comment.Preproc, Keyword, Keyword.Constant, Keyword.Type, Operator.Word),
    *(Name.Attribute, Name.Builtin, Name.Class, Name.Constant, Name.Decorator, Name.Exception),
    *(Name.Function, Name.Tag, Name.Variable, Number, String, String.Escape, String.Regex),
    *(Generic.Deleted, Generic.Heading, Generic.Inserted, Generic.Subheading),
}
CLASSES = frozenset(STANDARD_TYPES[kind] for kind in MARKED)


def highlight(code: str, language: str) -> str:
    """The code as HTML; without marks where the language is unknown or the code too long."""
    name = LANGUAGES.get(language.lower())
    if name is None or _is_costly(code):
        return escape(code)
    tokens = list(_lexer(name).get_tokens(code))
    if "".join(text for _, text in tokens) != code:
        return escape(code)
    return _spans(tokens)


def _is_costly(code: str) -> bool:
    lines = code.splitlines()
    return len(code) > LONGEST or len(lines) > LINES or any(len(line) > WIDTH for line in lines)


def _spans(tokens: Iterable[tuple[TokenType, str]]) -> str:
    marked = ((_class(kind), text) for kind, text in tokens)
    pieces = []
    for name, run in groupby(marked, key=lambda pair: pair[0]):
        text = escape("".join(text for _, text in run))
        pieces.append(f'<span class="{name}">{text}</span>' if name else text)
    return "".join(pieces)


@cache
def _class(kind: TokenType) -> str:
    """The class of a kind of token, or of the nearest kind above it that has one."""
    while kind not in MARKED and kind.parent is not None:
        kind = kind.parent
    return STANDARD_TYPES[kind] if kind in MARKED else ""


@cache
def _lexer(name: str) -> Lexer:
    return get_lexer_by_name(name, stripnl=False, ensurenl=False)
