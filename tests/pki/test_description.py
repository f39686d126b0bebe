from __future__ import annotations

import pytest

from pki.description import colons, serial_digits, serial_text, sha256_digits


def test_colons_are_how_tools_print_a_digest():
    assert colons("ab01ff") == "AB:01:FF"
    assert colons("") == ""


@pytest.mark.parametrize("typed", ["0AB1", "0a:b1", " 0A B1\n", "ab1"])
def test_serial_is_found_however_it_is_typed(typed):
    assert serial_digits(typed) == serial_text(0xAB1)


def test_leading_zeros_belong_to_a_fingerprint():
    assert sha256_digits("0A:B1") == "0ab1"
