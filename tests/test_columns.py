"""Columns taken by their bytes: what comes out is what any slow reader would find."""

from __future__ import annotations

import io
import struct
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroomcurate.catalogue.columns import equals, integers, uuid_keys
from shroomcurate.catalogue.dumps import _SPARE, TABLES, Block, _split
from shroomcurate.catalogue.kept import KeptRows, kept_rows
from shroomcurate.catalogue.keys import Bits, KeySet, Marks
from shroomcurate.catalogue.sources import PackedFile, TableStream
from shroomcurate.errors import BadDump

STREAM = TableStream("observers", "observers.csv", None, PackedFile("", 0, ""), 0)  # type: ignore[arg-type]


def block(*rows: tuple[str, ...], header: tuple[str, ...] = ("observer_id", "login", "name"), line: int = 2) -> Block:
    content = "".join("\t".join(row) + "\n" for row in rows).encode()
    return _split(STREAM, header, bytearray(content + bytes(_SPARE)), len(content), line)


IDS = st.one_of(st.none(), st.integers(0, 10**16 - 1))


@given(values=st.lists(IDS, max_size=50), place=st.integers(0, 2))
def test_integers_are_those_of_int(values: list[int | None], place: int) -> None:
    header = ["login", "name"]
    header.insert(place, "observer_id")
    rows = []
    for value in values:
        row = ["x", "99999999999"]
        row.insert(place, "" if value is None else str(value))
        rows.append(tuple(row))
    found = integers(block(*rows, header=tuple(header)), "observer_id")
    assert found.tolist() == [-1 if value is None else value for value in values]


@given(text=st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_an_id_that_is_no_plain_number_is_named_by_its_line(text: str) -> None:
    rows = [("1", "a", ""), (text, "b", ""), ("2", "c", "")]
    if text.isascii() and text.isdigit() and len(text) <= 16:
        assert integers(block(*rows), "observer_id").tolist() == [1, int(text), 2]
    else:
        with pytest.raises(BadDump) as error:
            integers(block(*rows, line=10), "observer_id")
        assert error.value.what.startswith(f"observers.csv, line 11: column 'observer_id' holds {text!r}")


def test_a_blank_id_is_refused_only_where_one_is_required() -> None:
    rows = block(("1", "a", ""), ("", "b", ""))
    assert integers(rows, "observer_id").tolist() == [1, -1]
    with pytest.raises(BadDump, match="line 3: column 'observer_id' is blank"):
        integers(rows, "observer_id", required=True)


@given(
    values=st.lists(st.sampled_from(["research", "research ", "Research", "needs_id", "casual", "casuals", "", "r"]))
)
def test_equals_finds_the_value_and_nothing_like_it(values: list[str]) -> None:
    rows = block(*((str(number), value, "") for number, value in enumerate(values)))
    for wanted in ("research", "needs_id", "casual"):
        assert equals(rows, "login", wanted.encode()).tolist() == [value == wanted for value in values]


@given(uuids=st.lists(st.uuids(), min_size=1, max_size=50))
def test_keys_are_equal_for_equal_uuids_and_no_others(uuids: list[uuid.UUID]) -> None:
    first = uuid_keys(block(*(("1", str(value), "") for value in uuids)), "login")
    again = uuid_keys(block(*(("22", str(value), "x") for value in reversed(uuids))), "login")
    assert first.tolist() == again.tolist()[::-1]
    assert len(set(first.tolist())) == len(set(uuids))


@pytest.mark.parametrize("place", [place for place in range(36) if place not in (8, 13, 18, 23)])
def test_every_digit_of_a_uuid_counts(place: int) -> None:
    plain = "0b5e0000-0000-4000-8000-000000000000"
    other = plain[:place] + "f" + plain[place + 1 :]
    first, second, third = uuid_keys(
        block(("1", plain, ""), ("2", other, ""), ("3", other.upper(), "")), "login"
    ).tolist()
    assert first != second == third


def test_numbered_uuids_have_keys_that_spread_over_all_low_bits() -> None:
    keys = uuid_keys(block(*(("1", f"0b5e0000-0000-4000-8000-{n:012d}", "") for n in range(4096))), "login")
    assert len(set(keys.tolist())) == 4096
    # As many different remainders as chance gives: 4096 · (1 - 1/e), give or take.
    assert 2400 < len(set((keys & np.uint64(4095)).tolist())) < 2800


def test_what_is_no_uuid_by_its_length_is_named() -> None:
    with pytest.raises(BadDump, match="line 2: column 'login' holds 'short'"):
        uuid_keys(block(("1", "short", "")), "login")


FIELD = st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(st.tuples(st.integers(0, 10**9).map(str), FIELD, FIELD), max_size=20)


def fields(kept: KeptRows) -> list[list[bytes]]:
    """COPY's binary format, read back: for each row the number of its fields, before each field its size."""
    rows, rest = [], io.BytesIO(kept.copy_rows)
    while count := rest.read(2):
        sizes = (
            (size, rest.read(max(size, 0))) for size in iter(lambda: int.from_bytes(rest.read(4), signed=True), None)
        )
        rows.append([value for _, (size, value) in zip(range(int.from_bytes(count)), sizes, strict=False)])
    return rows


@given(rows=ROWS, extra=st.sets(st.integers(0, 3)), order=st.permutations(range(3)), data=st.data())
def test_kept_rows_hold_the_columns_of_the_table_in_its_order_whatever_the_file_has(
    rows: list[tuple[str, str, str]], extra: set[int], order: list[int], data: st.DataObject
) -> None:
    names = list(TABLES["observers"])
    header = [names[place] for place in order]
    lines = [[row[place] for place in order] for row in rows]
    for place in sorted(extra):
        header.insert(place, "new")
        for line in lines:
            line.insert(place, "passed over")
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), bool)
    kept = kept_rows(block(*map(tuple, lines), header=tuple(header)), mask)
    wanted = [list(row) for row, keep in zip(rows, mask, strict=True) if keep]
    assert fields(kept) == [
        [int(row[0]).to_bytes(8), *(value.translate({0: "\ufffd", 13: "\ufffd"}).encode() for value in row[1:])]
        for row in wanted
    ]
    assert kept.replaced == sum("\0" in value or "\r" in value for row in wanted for value in row)
    assert kept.rows == len(wanted)


def test_a_byte_order_mark_is_data_also_where_a_blocks_rows_begin() -> None:
    rows = block(("\ufeffann", "1", ""), ("\ufeffbob", "2", ""), header=("login", "observer_id", "name"))
    assert [row[1] for row in fields(kept_rows(rows, np.array([True, True])))] == [
        "\ufeffann".encode(),
        "\ufeffbob".encode(),
    ]


@pytest.mark.parametrize("name", [" Ann", "Ann ", "0x10"])
def test_what_a_name_holds_says_nothing_of_the_numbers_beside_it(name: str) -> None:
    header = ("name", "rank_level", "taxon_id", "ancestry", "rank", "active")
    stream = TableStream("taxa", "taxa.csv", None, PackedFile("", 0, ""), 0)  # type: ignore[arg-type]
    content = f"{name}\t.5\t1\t\t\tt\n".encode()
    rows = _split(stream, header, bytearray(content + bytes(_SPARE)), len(content), 2)
    assert fields(kept_rows(rows, np.array([True])))[0][2] == struct.pack("!d", 0.5)


@pytest.mark.parametrize("number", [" 10", "10 ", "0x10", "0X10"])
def test_a_number_that_is_padded_or_hexadecimal_is_refused(number: str) -> None:
    header = ("rank_level", "rank", "taxon_id", "ancestry", "name", "active")
    stream = TableStream("taxa", "taxa.csv", None, PackedFile("", 0, ""), 0)  # type: ignore[arg-type]
    content = f"10\ta\t1\t\t\tt\n{number}\t\t2\t\t\tt\n".encode()
    rows = _split(stream, header, bytearray(content + bytes(_SPARE)), len(content), 2)
    with pytest.raises(BadDump, match="line 3: column 'rank_level' holds"):
        kept_rows(rows, np.array([True, True]))


def test_of_a_column_that_stands_there_twice_only_the_first_counts() -> None:
    rows = block(("1", "ann", "Ann", "\r"), ("2", "bob\r", "Bob", ""), header=("observer_id", "login", "name", "name"))
    kept = kept_rows(rows, np.array([True, True]))
    assert [row[2] for row in fields(kept)] == [b"Ann", b"Bob"]
    assert kept.replaced == 1
    assert "line 3, column login" in kept.replaced_example


KEYS = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1)), max_size=60)


@given(inside=KEYS, asked=KEYS)
def test_a_key_set_answers_as_a_set(inside: list[int], asked: list[int]) -> None:
    keys = KeySet(np.array(inside, np.int64))
    assert len(keys) == len(set(inside))
    assert keys.has(np.array([*asked, *inside, -1], np.int64)).tolist() == [
        key in set(inside) for key in [*asked, *inside, -1]
    ]


@given(first=KEYS, second=KEYS)
def test_bits_hold_exactly_what_was_added(first: list[int], second: list[int]) -> None:
    one, other = Bits(), Bits()
    again: list[int] = []
    for part in (first[::2], first[1::2]):
        again += one.add(np.array(part, np.int64)).tolist()
    assert {*again} == {key for key in first if first.count(key) > 1}
    other.add(np.array(second, np.int64))
    assert one.common(other).tolist() == sorted({*first} & {*second})


@given(inside=KEYS)
def test_marks_never_miss_what_was_added(inside: list[int]) -> None:
    marks = Marks()
    keys = np.array(inside, np.uint64)
    marks.add(keys)
    assert marks.has(keys).all()
    assert not Marks().has(keys).any()
