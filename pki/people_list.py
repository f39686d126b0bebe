"""A list of people as spreadsheets save it: what each line says, and what cannot be read of it.

Read are CSV files in UTF-8 (with a byte order mark or without) and UTF-16, parted by commas,
semicolons or tabs, and what is pasted from a spreadsheet. The first line may name the columns;
before it, Excel may have said `sep=;`.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from unicodedata import category

from pki.errors import BadFileError

COLUMNS = ("username", "name", "email", "device")  # in this order where no line names them
NAMES = {
    "username": ("username", "user name", "user", "login"),
    "name": ("name", "full name", "display name"),
    "email": ("email", "e-mail", "mail", "email address", "e-mail address"),
    "device": ("device", "device name"),
}
MEANINGS = {name: column for column, names in NAMES.items() for name in names}
PARTED_BY = ",;\t"
FORMULA = tuple("=+-@\t\r\n")
FORMULA += ("\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}", "\N{FULLWIDTH HYPHEN-MINUS}")
FORMULA += ("\N{FULLWIDTH COMMERCIAL AT}",)
MARK = "\ufeff"
SAYS_SEPARATOR = re.compile("sep=([,;\t])")  # Excel's, in a line before all others
ZIP = b"PK\x03\x04"  # how .xlsx and .ods begin


@dataclass(frozen=True)
class Line:
    """One person of a list; `number` is the line of the file that it begins in."""

    number: int
    username: str = ""
    name: str = ""
    email: str = ""
    device: str = ""
    fault: str = ""


@dataclass(frozen=True)
class PeopleList:
    """`unused` are columns that the first line names and nobody reads."""

    lines: tuple[Line, ...]
    parted_by: str
    unused: tuple[str, ...] = ()


def decoded(data: bytes) -> str:
    """The text of a file. Refuses (BadFileError) a spreadsheet and other encodings."""
    if data.startswith(ZIP):
        raise BadFileError("This is a spreadsheet. Save it as CSV in UTF-8 and choose that file.")
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    with suppress(UnicodeDecodeError):
        text = data.decode("utf-16" if is_utf_16 else "utf-8").removeprefix(MARK)
        if "\0" not in text:  # as in UTF-16 without its mark; PostgreSQL takes none
            return text
    raise BadFileError(
        "This list is not text in UTF-8. In Excel save it as “CSV UTF-8”; in LibreOffice "
        "choose the character set “Unicode (UTF-8)”."
    )


def read_people(text: str, *, most: int) -> PeopleList:
    """The lines of a list; empty ones are left out and fields are stripped.

    What is wrong with one line is its `fault`. Refuses (BadFileError) a list without lines, with
    more than `most`, with a column named twice or none for usernames, and quotes that do not pair.
    """
    text = text.removeprefix(MARK)
    parted_by = _parted_by(text)
    records = _records(text, parted_by)
    first = next(records, None)
    if first is not None and SAYS_SEPARATOR.fullmatch(parted_by.join(first[1])):
        first = next(records, None)
    if first is None:
        raise BadFileError("This list is empty.")
    columns = _columns(first[1])
    lines = [] if columns else [_line(*first, COLUMNS)]
    for number, cells in records:
        if len(lines) == most:
            raise BadFileError(f"This list has more than {most} lines. Part it into several.")
        lines.append(_line(number, cells, columns or COLUMNS))
    if not lines:
        raise BadFileError("Below the names of its columns this list is empty.")
    unused = [first[1][n] for n, column in enumerate(columns) if not column and first[1][n]]
    return PeopleList(tuple(lines), parted_by, tuple(unused))


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: the apostrophe makes it text."""
    return f"'{cell}" if is_formula(cell) else cell


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet might carry out what stands in a cell (CWE-1236)."""
    return cell.startswith(FORMULA)


def _parted_by(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    if said := SAYS_SEPARATOR.fullmatch(first):
        return said[1]
    return max(PARTED_BY, key=first.count)


def _records(text: str, parted_by: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not empty, and the line it begins in."""
    reader, begins = csv.reader(io.StringIO(text, newline=""), delimiter=parted_by, strict=True), 1
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error:
        raise BadFileError(
            f"Line {begins}: its quotation marks do not pair, so nothing after it can be read."
        ) from None


def _columns(cells: Sequence[str]) -> list[str]:
    """What the columns are, where this line names them; "" for those that nobody reads."""
    columns = [MEANINGS.get(" ".join(cell.lower().split()), "") for cell in cells]
    named = [column for column in columns if column]
    if "username" not in named and len(named) < 2:
        return []
    if "username" not in named or len(set(named)) < len(named):
        raise BadFileError(
            f"The first line names columns, but not each once: username, and as wanted "
            f"{', '.join(COLUMNS[1:])}."
        )
    return columns


def _line(number: int, cells: Sequence[str], columns: Sequence[str]) -> Line:
    if any(cells[len(columns) :]):
        fault = f"It has {len(cells)} fields, and there are {len(columns)} columns."
        return Line(number, username=cells[0], fault=fault)
    said = {column: cell for column, cell in zip(columns, cells, strict=False) if column}
    hidden = any(category(letter) == "Cc" for cell in said.values() for letter in cell)
    fault = "A field has a line break or a control character in it." if hidden else ""
    return Line(number, **said, fault=fault)
