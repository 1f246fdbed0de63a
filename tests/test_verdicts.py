"""verdicts.csv: the last word counts, and no process tears, loses or hides the words of another."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadOption, DamagedFile, DiskFull
from shroomcurate.tree import REASONS
from shroomcurate.verdicts import FILE, RESTORED, Verdict, append_verdicts, csv_line, read_verdicts, unfinished_line
from tests.conftest import small_file_system

KEEP, SCENERY = Verdict(True, None), Verdict(False, "scenery")
ONE, TWO = "images/Amanita_muscaria/1.jpg", "images/Amanita_muscaria/2.jpg"
HEADER = "path,verdict,reason,note,when\n"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path)


def content(dataset: Dataset) -> bytes:
    return dataset.path(FILE).read_bytes()


# -- what counts -------------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
verdicts = st.one_of(
    st.none(),
    st.builds(Verdict, st.just(True), st.none(), st.booleans()),
    st.builds(Verdict, st.just(False), st.sampled_from(sorted(REASONS)), st.booleans()),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_written_the_last_word_on_each_photo_is_read(dataset: Dataset, data: st.DataObject) -> None:
    paths = data.draw(st.lists(st.builds("images/{}/{}".format, names, names), min_size=1, max_size=4, unique=True))
    dataset.path(FILE).unlink(missing_ok=True)
    known: dict[str, Verdict] = {}
    for said in data.draw(st.lists(st.dictionaries(st.sampled_from(paths), verdicts, max_size=4), max_size=6)):
        append_verdicts(dataset, said, note='a, "b"\nc')
        known = {path: word for path, word in {**known, **said}.items() if word is not None}
    assert read_verdicts(dataset) == known
    assert list(read_verdicts(dataset)) == sorted(known)


def test_none_takes_a_verdict_back_and_a_later_one_counts_again(dataset: Dataset) -> None:
    append_verdicts(dataset, {ONE: KEEP, TWO: SCENERY})
    append_verdicts(dataset, {ONE: None})
    assert read_verdicts(dataset) == {TWO: SCENERY}
    append_verdicts(dataset, {ONE: SCENERY})
    assert read_verdicts(dataset) == {ONE: SCENERY, TWO: SCENERY}
    assert content(dataset).count(b"\n") == 5  # nothing that was said is rewritten


def test_a_verdict_that_teaches_nothing_is_marked_as_that_of_a_restore_and_read_so(dataset: Dataset) -> None:
    quiet = KEEP._replace(teaches=False)
    append_verdicts(dataset, {ONE: quiet, TWO: KEEP}, note="review")
    assert read_verdicts(dataset) == {ONE: quiet, TWO: KEEP}
    assert f"{ONE},keep,,{RESTORED}," in content(dataset).decode()
    append_verdicts(dataset, {ONE: KEEP})
    assert read_verdicts(dataset)[ONE].teaches


def test_no_verdict_at_all_is_no_error(dataset: Dataset) -> None:
    assert read_verdicts(dataset) == {}
    append_verdicts(dataset, {})
    assert read_verdicts(dataset) == {}
    dataset.path(FILE).write_bytes(b"")  # a process killed between opening and writing
    assert read_verdicts(dataset) == {}
    append_verdicts(dataset, {ONE: KEEP})
    assert content(dataset).decode().startswith(HEADER)
    assert read_verdicts(dataset) == {ONE: KEEP}


def test_a_name_that_is_not_utf8_is_refused_and_none_of_the_others_is_written(dataset: Dataset) -> None:
    append_verdicts(dataset, {ONE: KEEP})
    before = content(dataset)
    with pytest.raises(BadOption, match="UTF-8"):
        append_verdicts(dataset, {TWO: KEEP, os.fsdecode(b"images/A/\xe9.jpg"): KEEP})
    assert content(dataset) == before


# -- what people's editors do ------------------------------------------------------------------------------------


def test_a_last_line_that_an_editor_left_open_is_a_verdict_and_stays_one(dataset: Dataset) -> None:
    dataset.path(FILE).write_text(f"{HEADER}{ONE},remove,scenery,,2026-01-01")
    assert read_verdicts(dataset) == {ONE: SCENERY}
    append_verdicts(dataset, {TWO: KEEP})
    assert read_verdicts(dataset) == {ONE: SCENERY, TWO: KEEP}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{ONE},perhaps,,,", "line 2, verdict: 'perhaps'"),
        (f"{ONE},remove,ugly,,", "line 2, reason: 'ugly'"),
        ("images/1.jpg,keep,,,", "line 2, path: 'images/1.jpg'"),
        ("images/../1.jpg,keep,,,", "line 2, path"),
        (f"{ONE},keep", "line 2, line: has 2 fields, not 5"),
    ],
)
def test_a_line_that_is_no_verdict_is_named_with_its_number_and_value(dataset: Dataset, line: str, words: str) -> None:
    dataset.path(FILE).write_text(f"{HEADER}{line}\n{TWO},keep,,,\n")
    with pytest.raises(DamagedFile, match=words):
        read_verdicts(dataset)


def test_a_last_line_with_a_word_that_is_no_verdict_is_named_though_it_is_open(dataset: Dataset) -> None:
    dataset.path(FILE).write_text(f"{HEADER}{TWO},keep,,,\n{ONE},perhaps")
    with pytest.raises(DamagedFile, match="line 3"):
        read_verdicts(dataset)


@pytest.mark.parametrize("line", [ONE, f"{ONE},", f"{ONE},keep", f"{ONE},remove,scenery", f"{ONE},rem"])
def test_a_last_line_without_end_that_is_no_verdict_is_named(dataset: Dataset, line: str) -> None:
    """A kill may have cut it short, or a person has typed no more of it: nobody can tell."""
    dataset.path(FILE).write_text(f"{HEADER}{TWO},keep,,,\n{line}")
    assert read_verdicts(dataset) == {TWO: KEEP}
    said = unfinished_line(dataset)
    assert said is not None
    assert repr(line) in said
    dataset.path(FILE).write_text(f"{HEADER}{TWO},keep,,,\n{ONE},keep,,,")
    assert unfinished_line(dataset) is None


def test_where_every_line_is_a_verdict_none_is_named(dataset: Dataset) -> None:
    assert unfinished_line(dataset) is None
    append_verdicts(dataset, {ONE: KEEP})
    assert unfinished_line(dataset) is None
    dataset.path(FILE).write_text(HEADER[:9])  # a first write that was killed
    assert unfinished_line(dataset) is None


# -- what kills and full disks do --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TWO, 'images/Amanita "muscaria", var. alba/2.jpg'])
def test_a_write_killed_after_any_byte_hides_nothing_said_before_or_after(dataset: Dataset, path: str) -> None:
    whole = csv_line([path, "remove", "scenery", "review", "2026-01-01T00:00:00+00:00"])
    for length in range(len(whole) + 1):
        dataset.path(FILE).write_text(f"{HEADER}{ONE},keep,,,\n{whole[:length]}")
        assert read_verdicts(dataset).items() >= {ONE: KEEP}.items(), whole[:length]
        append_verdicts(dataset, {"images/Boletus/3.jpg": KEEP})
        found = read_verdicts(dataset)
        assert found.pop("images/Boletus/3.jpg") == KEEP
        assert found in ({ONE: KEEP}, {ONE: KEEP, path: SCENERY}), whole[:length]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_first_write_killed_after_any_byte_of_the_header_is_gone_on_from(dataset: Dataset, mark: str) -> None:
    for length in range(len(HEADER) + 1):
        dataset.path(FILE).write_text(mark + HEADER[:length])
        assert read_verdicts(dataset) == {}
        append_verdicts(dataset, {ONE: KEEP})
        assert read_verdicts(dataset) == {ONE: KEEP}, HEADER[:length]


def test_on_a_full_disk_no_verdict_is_half_written(tmp_path: Path) -> None:
    with small_file_system(tmp_path, 1) as disk:
        dataset = Dataset(disk)
        append_verdicts(dataset, {ONE: KEEP})
        (disk / "filler").write_bytes(bytes(900_000))
        before = content(dataset)
        many = {f"images/Amanita_muscaria/{number}.jpg": SCENERY for number in range(5000)}
        with pytest.raises(DiskFull, match=r"verdicts\.csv"):
            append_verdicts(dataset, many)
        assert content(dataset) == before
        (disk / "filler").unlink()
        append_verdicts(dataset, many)
        assert read_verdicts(dataset) == {**many, ONE: SCENERY}


def test_a_first_verdict_that_finds_the_disk_full_leaves_a_file_that_can_be_read(tmp_path: Path) -> None:
    with small_file_system(tmp_path, 1) as disk:
        dataset = Dataset(disk)
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(bytes(2_000_000))
        with pytest.raises(DiskFull):
            append_verdicts(dataset, {ONE: KEEP})
        assert read_verdicts(dataset) == {}


# -- several at a time -------------------------------------------------------------------------------------------

WRITERS, BATCHES, LINES = 4, 25, 50


def _write_many(folder: Path, writer: int) -> None:
    for batch in range(BATCHES):
        said: Mapping[str, Verdict] = {
            f"images/Writer, {writer}/{batch}-{line}.jpg": SCENERY if line % 2 else KEEP for line in range(LINES)
        }
        append_verdicts(Dataset(folder), said, note=f"writer {writer}")


def test_processes_that_write_at_the_same_time_lose_tear_and_hide_nothing(dataset: Dataset) -> None:
    """Also who reads meanwhile never sees half of a line."""
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write_many, args=(dataset.root, writer)) for writer in range(WRITERS)]
    for each in writers:
        each.start()
    counts = [0]
    while any(each.is_alive() for each in writers):
        counts.append(len(read_verdicts(dataset)))
        time.sleep(0.002)
    for each in writers:
        each.join()
    assert [each.exitcode for each in writers] == [0] * WRITERS
    assert counts == sorted(counts)
    assert all(count % LINES == 0 for count in counts)  # a verdict on many photos is seen as one
    assert read_verdicts(dataset) == {
        f"images/Writer, {writer}/{batch}-{line}.jpg": SCENERY if line % 2 else KEEP
        for writer in range(WRITERS)
        for batch in range(BATCHES)
        for line in range(LINES)
    }
    assert content(dataset).count(HEADER.encode()) == 1
