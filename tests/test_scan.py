"""The loops in C against plain Python: any bytes, cut anywhere, get the same verdict and the same fields."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shroomcurate.catalogue import dumps
from shroomcurate.catalogue.columns import below, equals, integers, uuid_keys
from shroomcurate.catalogue.dumps import _SPARE, Block, _split, read_blocks
from shroomcurate.catalogue.kept import cut
from shroomcurate.catalogue.keys import Bits, Marks
from shroomcurate.catalogue.scan import library
from shroomcurate.catalogue.sources import PackedFile, TableStream
from shroomcurate.errors import BadDump

HEADER = ("observer_id", "login", "name")


def stream(content: bytes = b"", header: Sequence[str] = HEADER, end: str = "\n") -> TableStream:
    file = io.BytesIO("\t".join(header).encode() + end.encode() + content)
    return TableStream("observers", "observers.csv", file, PackedFile("", 0, ""), 0)


def block(rows: Sequence[Sequence[bytes]], header: Sequence[str] = HEADER) -> Block:
    content = b"".join(b"\t".join(row) + b"\n" for row in rows)
    return _split(stream(), tuple(header), bytearray(content + bytes(_SPARE)), len(content), 2)


#: Bytes with many ends, near ends (8, 11, 0x89, 0x8a), odd bytes, and stretches longer than a group of 64.
PIECE = st.one_of(
    st.sampled_from(
        [b"\t", b"\n", b"\t\t\n", b"1\ta\tb\n", b"\r\n", b"\r", b"\0", b"\x08", b"\x0b", b"\x89\x8a", b"\xff"]
    ),
    st.binary(max_size=5),
    st.integers(0, 150).map(lambda size: b"x" * size),
)
LINE = st.lists(st.binary(max_size=70).map(lambda field: field.translate(None, b"\t\n")), min_size=3, max_size=3)
#: Whole rows first, so that a wrong one stands deep in a block.
CONTENT = st.tuples(
    st.lists(LINE.map(lambda row: b"\t".join(row) + b"\n"), max_size=12), st.lists(PIECE, max_size=12)
).map(lambda parts: b"".join(parts[0] + parts[1]))


def naive(content: bytes, end: bytes) -> list[list[bytes]] | str:
    """The rows of a table of three columns, or what the refusal says first."""
    *lines, rest = content.split(b"\n")
    rows = [line.removesuffix(b"\r" if end == b"\r\n" else b"").split(b"\t") for line in lines]
    for number, row in enumerate(rows):
        if len(row) != 3:
            return f"observers.csv, line {number + 2}: {len(row)} fields where the header has 3"
    return "observers.csv ends in the middle of a line" if rest else rows


@given(content=CONTENT, size=st.integers(1, 400), end=st.sampled_from(["\n", "\r\n"]))
@example(content=b"a\tb\nc\td\te\tf\n", size=400, end="\n")  # as many tabs as two rows of three have
@example(content=b"1\ta\t" + b"x" * 200 + b"\n", size=1, end="\n")
def test_any_bytes_get_the_verdict_of_a_plain_split_wherever_blocks_are_cut(
    content: bytes, size: int, end: str
) -> None:
    def rows(block: Block) -> list[list[bytes]]:
        return [[block.value(name, row) for name in HEADER] for row in range(block.rows)]

    expected = naive(content, end.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dumps, "BLOCK_BYTES", size)
        if isinstance(expected, str):
            with pytest.raises(BadDump) as error:
                list(read_blocks(stream(content, end=end), rows))
            assert error.value.what.startswith(expected)
        else:
            assert [row for rows in read_blocks(stream(content, end=end), rows) for row in rows] == expected


@given(pieces=st.lists(PIECE, min_size=1), times=st.integers(1, 3000))
def test_lines_are_counted(pieces: list[bytes], times: int) -> None:
    content = b"".join(pieces) * times
    characters = np.frombuffer(content, np.uint8)
    assert library().count_lines(characters, len(content)) == content.count(b"\n")
    assert library().count_lines(characters, len(content) // 2) == content[: len(content) // 2].count(b"\n")


VALUE = st.one_of(
    st.sampled_from([b"", b"0", b"007", b"9999999999999999", b"10000000000000000", b"-1", b" 1", b"1/", b"\xb1", b":"]),
    st.integers(0, 10**17).map(lambda number: str(number).encode()),
    st.binary(max_size=18).map(lambda field: field.translate(None, b"\t\n")),
)


@given(values=st.lists(VALUE, min_size=1, max_size=8), place=st.integers(0, 2), data=st.data())
def test_ids_are_read_as_int_reads_them_and_the_first_bad_one_of_the_rows_asked_for_is_named(
    values: list[bytes], place: int, data: st.DataObject
) -> None:
    rows = [[b"9"] * place + [value] + [b"9"] * (2 - place) for value in values]
    asked = data.draw(st.lists(st.integers(0, len(values) - 1), unique=True).map(sorted))
    required = data.draw(st.booleans())
    good = {row: bool(re.fullmatch(rb"[0-9]{1,16}" if required else rb"[0-9]{0,16}", values[row])) for row in asked}
    wrong = [row for row in asked if not good[row]]
    if wrong:
        with pytest.raises(BadDump, match=f"line {wrong[0] + 2}: column '{HEADER[place]}'"):
            integers(block(rows), HEADER[place], np.array(asked, np.int64), required=required)
    else:
        found = integers(block(rows), HEADER[place], np.array(asked, np.int64), required=required)
        assert found.tolist() == [int(values[row] or b"-1") for row in asked]


@given(values=st.lists(VALUE, max_size=8), wanted=VALUE)
def test_a_text_is_found_in_whole_fields_only(values: list[bytes], wanted: bytes) -> None:
    rows = block([[b"1", value, wanted] for value in [*values, wanted]])
    assert equals(rows, "login", wanted).tolist() == [value == wanted for value in [*values, wanted]]


STEP = st.one_of(st.sampled_from([b"", b"7", b"77", b"07", b"47169", b"1" * 18]), st.binary(max_size=3))
PATH = st.lists(STEP, max_size=4).map(lambda steps: b"/".join(steps).translate(None, b"\t\n"))


@given(paths=st.lists(PATH, min_size=1, max_size=8), roots=st.sets(st.sampled_from([7, 77, 47169])))
def test_a_path_lies_below_the_ids_that_stand_on_it_whole(paths: list[bytes], roots: set[int]) -> None:
    rows = block([[b"1", path, b"7"] for path in paths])
    wrong = [n for n, path in enumerate(paths) if not re.fullmatch(rb"[0-9]{0,18}(/[0-9]{0,18})*", path)]
    if wrong:
        with pytest.raises(BadDump, match=f"line {wrong[0] + 2}: column 'login'"):
            below(rows, "login", sorted(roots))
    else:
        on_path = [{*path.split(b"/")} & {str(root).encode() for root in roots} for path in paths]
        assert below(rows, "login", sorted(roots)).tolist() == list(map(bool, on_path))


@given(rows=st.lists(LINE, max_size=8), data=st.data())
def test_rows_are_cut_out_as_they_stand(rows: list[list[bytes]], data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from(range(len(rows)))) if rows else st.just(set()))
    text = cut(block(rows), np.array(sorted(chosen), np.int64))
    assert text == b"".join(b"\t".join(rows[row]) + b"\n" for row in sorted(chosen))


@given(first=st.binary(min_size=36, max_size=36), other=st.binary(min_size=36, max_size=36), place=st.integers(0, 2))
def test_keys_of_uuids_come_from_their_field_alone(first: bytes, other: bytes, place: int) -> None:
    first, other = (
        value.translate(bytes(b if b not in b"\t\n" else 0 for b in range(256))) for value in (first, other)
    )

    def keys(beside: bytes) -> list[int]:
        rows = [[beside] * place + [value] + [beside] * (2 - place) for value in (first, other, first)]
        found: list[int] = uuid_keys(block(rows), HEADER[place]).tolist()
        return found

    one, two, three = keys(b"")
    assert one == three
    assert keys(b"beside") == [one, two, three]


def test_threads_that_mark_at_once_lose_no_mark() -> None:
    marks = Marks()
    keys = [np.arange(start, 1 << 20, 4, np.uint64) for start in range(4)]  # bits of one byte, all the time
    threads = [threading.Thread(target=marks.add, args=(part,)) for part in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert marks.has(np.arange(1 << 20, dtype=np.uint64)).all()
    assert not marks.has(np.arange(1 << 20, 1 << 21, dtype=np.uint64)).any()


def test_ids_in_any_order_over_many_pages_are_kept_apart() -> None:
    ids = np.random.default_rng(7).permutation(np.arange(0, 1 << 30, 99_991))
    bits = Bits()
    assert not len(bits.add(ids))
    assert sorted(bits.add(ids[:100]).tolist()) == sorted(ids[:100].tolist())
    assert bits.has([int(ids[0]), int(ids[0]) + 1]) == [int(ids[0])]


def test_an_array_of_another_type_is_refused_rather_than_misread() -> None:
    marks = Marks()
    with pytest.raises(Exception, match="argument 3"):
        marks.add(np.arange(3, dtype=np.int32))
    with pytest.raises(Exception, match="argument 3"):
        marks.add(np.arange(6, dtype=np.uint64)[::2])
