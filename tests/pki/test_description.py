from __future__ import annotations

import pytest

from pki.description import colons, partition_of, serial_digits, serial_text, sha256_digits


def test_colons_are_how_tools_print_a_digest():
    assert colons("ab01ff") == "AB:01:FF"
    assert colons("") == ""


@pytest.mark.parametrize("typed", ["0AB1", "0a:b1", " 0A B1\n", "ab1"])
def test_serial_is_found_however_it_is_typed(typed):
    assert serial_digits(typed) == serial_text(0xAB1)


def test_leading_zeros_belong_to_a_fingerprint():
    assert sha256_digits("0A:B1") == "0ab1"


@pytest.mark.parametrize("partitions", [1, 2, 7, 256])
def test_partition_is_the_same_for_the_number_and_its_text(partitions):
    for number in (1, 2, 7, 2**159 - 1, 0xAB1):
        partition = partition_of(number, partitions)
        assert partition == partition_of(serial_text(number), partitions)
        assert 1 <= partition <= partitions


def test_partition_where_there_is_one_list():
    assert partition_of(5, 0) == 0


def test_partitions_are_filled_evenly():
    assert [partition_of(serial, 4) for serial in range(8)] == [1, 2, 3, 4, 1, 2, 3, 4]
