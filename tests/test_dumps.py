"""The dump reader: what it finds, what it believes, and how it names what it does not."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import itertools
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroomcurate.catalogue import dumps, sources
from shroomcurate.catalogue.dumps import TABLES, Block, read_blocks
from shroomcurate.catalogue.sources import NEEDS, _Hashed, find_dump, open_tables
from shroomcurate.errors import BadDump, BadOption, ShroomError, SourceMissing
from tests.dumps import HEADERS, Dump

HEADER = "observer_id\tlogin\tname\n"


def rows(block: Block) -> list[dict[str, bytes]]:
    return [{name: block.value(name, row) for name in TABLES[block.table]} for row in range(block.rows)]


def tables(*sources: Path) -> dict[str, list[dict[str, bytes]]]:
    """Every table of a dump, in the order in which they come."""
    return {
        table.table: [row for block in read_blocks(table, rows) for row in block]
        for table in open_tables(find_dump(sources))
    }


def read(file: Path) -> list[dict[str, bytes]]:
    others = file.parent / "others"
    if not others.exists():
        Dump().write(others)
    return tables(*(others / f"{table}.csv.gz" for table in HEADERS if table != "observers"), file)["observers"]


def observers(folder: Path, content: bytes, packed: bool = False) -> Path:
    file = folder / ("observers.csv.gz" if packed else "observers.csv")
    file.write_bytes(content)
    return file


def message(error: pytest.ExceptionInfo[ShroomError]) -> str:
    assert error.value.hint
    return error.value.what


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all examples of a test: to make them takes longer than to read a table."""
    return tmp_path_factory.mktemp("dump")


@functools.cache
def many() -> bytes:
    """A packed table of 3,000 rows."""
    return gzip.compress(
        (HEADER + "".join(f"{number}\tuser{number * 7919 % 1000}\t\n" for number in range(3000))).encode()
    )


FIELD = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), max_size=12)


@given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), max_size=30), block=st.integers(1, 200), packed=st.booleans())
def test_any_fields_come_back_as_they_are_wherever_blocks_are_cut(
    folder: Path, rows: list[tuple[str, str, str]], block: int, packed: bool
) -> None:
    content = (HEADER + "".join("\t".join(row) + "\n" for row in rows)).encode()
    file = observers(folder, gzip.compress(content) if packed else content, packed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dumps, "BLOCK_BYTES", block)
        found = read(file)
    assert [tuple(value.decode() for value in row.values()) for row in found] == rows


def test_quotes_and_backslashes_are_data(tmp_path: Path) -> None:
    file = observers(tmp_path, (HEADER + "1\tjane \"j\n2\t'\\\tC:\\new\n").replace("j\n", "j\t\n").encode())
    assert read(file) == [
        {"observer_id": b"1", "login": b'jane "j', "name": b""},
        {"observer_id": b"2", "login": b"'\\", "name": b"C:\\new"},
    ]


def test_columns_are_found_by_the_header_and_others_are_passed_over(tmp_path: Path) -> None:
    file = observers(tmp_path, b"name\tnew\tobserver_id\tnew\tlogin\nAnn\tx\t7\ty\tann\n")
    assert read(file) == [{"observer_id": b"7", "login": b"ann", "name": b"Ann"}]


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadDump) as error:
        read(observers(tmp_path, b"observer_id\tname\n1\tx\n"))
    assert "line 1: there is no column 'login'; the header has: observer_id, name" in message(error)


@pytest.mark.parametrize(("row", "fields"), [("2\tb", 2), ("2\tb\tc\td", 4)])
def test_a_row_with_another_number_of_fields_is_named_by_its_line(tmp_path: Path, row: str, fields: int) -> None:
    lines = "".join(f"{number}\tx\ty\n" for number in range(5))
    with pytest.raises(BadDump) as error:
        read(observers(tmp_path, (HEADER + lines + row + "\n" + lines).encode()))
    assert f"observers.csv, line 7: {fields} fields where the header has 3: {row!r}" in message(error)


@pytest.mark.parametrize("block", [1, 7, 100])
def test_the_line_is_right_wherever_blocks_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(dumps, "BLOCK_BYTES", block)
    with pytest.raises(BadDump, match="line 5: 2 fields"):
        read(observers(tmp_path, (HEADER + "1\ta\tb\n\t\t\n3\ta\tb\n4\ta\n").encode()))


def test_a_file_cut_in_its_last_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDump) as error:
        read(observers(tmp_path, (HEADER + "1\ta\tb\n2\ta\tbb").encode()))
    assert "ends in the middle of a line: '2\\ta\\tbb'" in message(error)


@given(cut=st.integers(1, 10_000))
def test_a_gzip_cut_anywhere_is_refused(folder: Path, cut: int) -> None:
    packed = many()
    file = observers(folder, packed[: max(1, len(packed) - cut)], packed=True)
    with pytest.raises(BadDump, match=r"observers.csv.gz"):
        read(file)


@given(place=st.integers(10, 10_000), flip=st.integers(1, 255))
def test_a_gzip_with_one_changed_byte_never_passes_for_another_table(folder: Path, place: int, flip: int) -> None:
    packed = bytearray(many())
    packed[place % (len(packed) - 10) + 10] ^= flip
    file = observers(folder, bytes(packed), packed=True)
    with pytest.raises(BadDump):
        read(file)


def test_several_gzip_members_are_one_table(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + "1\ta\t\n").encode()) + gzip.compress(b"2\tb\t\n")
    assert [row["observer_id"] for row in read(observers(tmp_path, packed, packed=True))] == [b"1", b"2"]


@pytest.mark.parametrize("content", [b"", b"not gzip at all", b"<html>Access denied</html>"])
def test_what_is_no_gzip_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadDump):
        read(observers(tmp_path, content, packed=True))


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing) as error:
        find_dump([tmp_path / "nowhere"])
    assert str(tmp_path / "nowhere") in message(error)
    assert error.value.exit_code == 3


def test_a_folder_without_all_four_tables_names_those_it_lacks(tmp_path: Path) -> None:
    Dump().write(tmp_path)
    (tmp_path / "photos.csv.gz").unlink()
    with pytest.raises(SourceMissing, match=r"no photos\.csv\.gz"):
        find_dump([tmp_path])


@pytest.mark.parametrize("place", [".", "metadata", "inaturalist-open-data-20260727"])
def test_tables_are_found_in_the_folder_or_one_below(tmp_path: Path, place: str) -> None:
    Dump().write(tmp_path / place, packed=place != "metadata")
    (tmp_path / "projects.csv").write_text("other\n")
    assert set(find_dump([tmp_path]).tables) == set(HEADERS)


def test_tables_can_be_named_one_by_one_from_anywhere(tmp_path: Path) -> None:
    Dump().write(tmp_path / "a")
    Dump().write(tmp_path / "b", packed=False)
    named = [tmp_path / "a" / "photos.csv.gz", tmp_path / "b" / "taxa.csv", tmp_path / "b" / "observers.csv"]
    with pytest.raises(SourceMissing, match=r"no observations\.csv\.gz there"):
        find_dump(named)
    assert tables(*named, tmp_path / "a" / "observations.csv.gz") == tables(tmp_path / "a")
    with pytest.raises(BadOption, match=r"taxa is given twice: .*taxa\.csv and .*taxa\.csv\.gz"):
        find_dump([*named, tmp_path / "a" / "taxa.csv.gz"])


def test_a_folder_that_holds_only_the_bundle_says_to_name_it(tmp_path: Path) -> None:
    (tmp_path / "inaturalist-open-data-latest.tar.gz").touch()
    with pytest.raises(SourceMissing) as error:
        find_dump([tmp_path])
    assert "inaturalist-open-data-latest.tar.gz" in error.value.hint


def bundle(folder: Path, target: Path, order: Sequence[str], mode: str = "w:gz") -> Path:
    with tarfile.open(target, mode) as archive:  # type: ignore[call-overload]
        for table in order:
            (file,) = folder.glob(f"{table}.csv*")
            archive.add(file, f"inaturalist-open-data-20260727/{file.name}")
            archive.addfile(tarfile.TarInfo(f"inaturalist-open-data-20260727/{table}_projects.csv.gz"), io.BytesIO())
    return target


@pytest.mark.parametrize("order", list(itertools.permutations(NEEDS)), ids="-".join)
def test_a_bundle_in_any_order_gives_the_tables_of_its_folder_each_after_the_one_it_needs(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    folder = Dump().write(tmp_path / "dump", packed=order[0] < order[1])
    packed = bundle(folder, tmp_path / "dump.tar.gz", order)
    found = tables(packed)
    assert found == tables(folder)
    for table, needed in NEEDS.items():
        assert needed is None or list(found).index(needed) < list(found).index(table)
    (file,) = find_dump([packed]).files
    streams = open_tables(sources.Dump({}, file))
    for stream in streams:
        stream.stream.read()
    assert file.sha256 == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert file.taken == packed.stat().st_size


@pytest.mark.parametrize(
    ("order", "passes"),
    [
        (("taxa", "observations", "photos", "observers"), 1),
        (("observers", "taxa", "observations", "photos"), 1),
        (("observations", "observers", "photos", "taxa"), 2),
        (("photos", "observations", "taxa", "observers"), 3),
    ],
)
def test_a_bundle_is_read_again_only_for_a_large_table_that_came_too_early(
    tmp_path: Path, order: tuple[str, ...], passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = bundle(Dump().write(tmp_path / "dump"), tmp_path / "dump.tar.gz", order)
    opened = []
    monkeypatch.setattr(sources, "_Hashed", lambda raw, file: opened.append(file) or _Hashed(raw, file))
    tables(packed)
    assert len(opened) == passes


def test_a_plain_tar_and_a_bundle_of_plain_files_are_bundles_too(tmp_path: Path) -> None:
    folder = Dump().write(tmp_path / "dump", packed=False)
    assert tables(bundle(folder, tmp_path / "dump.tar", list(NEEDS), "w")) == tables(folder)


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_a_bundle_cut_short_is_refused(tmp_path: Path, cut: float) -> None:
    packed = bundle(Dump().write(tmp_path / "dump"), tmp_path / "dump.tar.gz", list(NEEDS))
    whole = packed.read_bytes()
    packed.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(BadDump, match=r"dump\.tar\.gz"):
        tables(packed)


def test_a_bundle_without_a_table_says_which(tmp_path: Path) -> None:
    packed = bundle(Dump().write(tmp_path / "dump"), tmp_path / "dump.tar.gz", ["taxa", "photos", "observers"])
    with pytest.raises(SourceMissing, match=r"holds no observations\.csv"):
        tables(packed)


def test_links_and_folders_in_a_bundle_are_no_tables(tmp_path: Path) -> None:
    folder = Dump().write(tmp_path / "dump", packed=False)
    with tarfile.open(tmp_path / "dump.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE):
            link = tarfile.TarInfo("photos.csv")
            link.type, link.linkname = kind, "/etc/passwd"
            archive.addfile(link)
        for file in folder.iterdir():
            archive.add(file, file.name)
    assert tables(tmp_path / "dump.tar") == tables(folder)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dump.tar.gz").write_bytes(b"<html>Access denied</html>")
    with pytest.raises(BadDump, match=r"dump\.tar\.gz cannot be unpacked"):
        tables(tmp_path / "dump.tar.gz")
