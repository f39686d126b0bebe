"""Lists of people as spreadsheets save them."""

from __future__ import annotations

import pytest

from pki.errors import BadFileError
from pki.people_list import Line, decoded, harmless, read_people

DORA = Line(2, "dora", "Dörte Diaz", "dora@example.org", "laptop")


@pytest.mark.parametrize(
    "data",
    [
        "username,name,email,device\r\ndora,Dörte Diaz,dora@example.org,laptop\r\n".encode(),
        "username;name;email;device\ndora;Dörte Diaz;dora@example.org;laptop".encode("utf-8-sig"),
        "Username\tName\tE-Mail\tDevice\r\ndora\tDörte Diaz\tdora@example.org\tlaptop".encode(
            "utf-16"
        ),
        "device;e-mail address;username;Full  Name\nlaptop;dora@example.org;dora;Dörte Diaz".encode(),
        '"username","name","email","device"\n"dora"," Dörte Diaz ","dora@example.org","laptop"\n'.encode(),
        "\ndora,Dörte Diaz,dora@example.org,laptop\n,,,\n".encode(),
    ],
    ids=["LibreOffice", "Excel", "Excel, Unicode text", "other order", "quoted", "no header"],
)
def test_list_of_a_spreadsheet_is_read(data: bytes) -> None:
    assert read_people(decoded(data), most=9).lines == (DORA,)


def test_columns_that_nobody_reads_are_told() -> None:
    found = read_people("username;department;name\ndora;Sales;Dora\n", most=9)
    assert found.lines == (Line(2, "dora", "Dora"),)
    assert (found.unused, found.parted_by) == (("department",), ";")


@pytest.mark.parametrize("parted_by", [",", ";", "\t"])
def test_separator_that_excel_names_is_no_person(parted_by: str) -> None:
    text = f"\ufeffsep={parted_by}\r\nusername{parted_by}name\r\ndora{parted_by}Dora\r\n"
    found = read_people(text, most=9)
    assert (found.lines, found.parted_by) == ((Line(3, "dora", "Dora"),), parted_by)


def test_usernames_alone_are_a_list() -> None:
    assert read_people("dora\n\nemil\n", most=9).lines == (Line(1, "dora"), Line(3, "emil"))


def test_lines_are_numbered_as_an_editor_does() -> None:
    text = 'username,name\n\ndora,"Dora\nDiaz"\nemil,Emil\n'
    dora, emil = read_people(text, most=9).lines
    assert (dora.number, emil.number) == (3, 5)
    assert "line break" in dora.fault
    assert not emil.fault


def test_line_with_more_fields_than_columns_has_a_fault() -> None:
    (line,) = read_people("username,name\ndora,Diaz,Dora\n", most=9).lines
    assert "It has 3 fields, and there are 2 columns." in line.fault


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("username,name\n", "this list is empty"),
        ("name,email\nDora,dora@example.org", "not each once"),
        ("username,mail,email\ndora,a,b", "not each once"),
        ("dora\nemil\nfay\ngus\n", "more than 3 lines"),
        ('username,name\ndora,"Dora\nemil,Emil\n', "Line 2: its quotation marks"),
    ],
)
def test_list_that_cannot_be_read(text: str, sentence: str) -> None:
    with pytest.raises(BadFileError, match=sentence):
        read_people(text, most=3)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("dörte".encode("cp1252"), "CSV UTF-8"),
        ("dora".encode("utf-16-le"), "CSV UTF-8"),  # without the mark: letters and NULs
        (b"PK\x03\x04...", "is a spreadsheet"),
    ],
)
def test_file_that_is_no_text_in_utf_8(data: bytes, sentence: str) -> None:
    with pytest.raises(BadFileError, match=sentence):
        decoded(data)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@a", "\N{FULLWIDTH EQUALS SIGN}1", "\t=1"])
def test_formula_is_made_text(cell: str) -> None:
    assert harmless(cell) == "'" + cell
    assert harmless("a" + cell) == "a" + cell
