"""Looking again: at the bytes (``--verify``), at what cleaning took out, at server and licences (``--recheck``)."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from shroomcurate.dataset import Dataset, Receipt, read_table, write_table
from shroomcurate.download import crew, download, recheck
from shroomcurate.download.journal import JOURNAL
from shroomcurate.errors import NetworkDown, StageMissing
from tests.conftest import selection_rows
from tests.fault_server import FaultServer, running
from tests.test_download import (
    MOMENTS,
    WRAP,
    A,
    B,
    Selected,
    assert_folders_hold_the_manifest,
    options,
    rows,
    select,
    start,
    tree,
)


@pytest.fixture(autouse=True)
def one_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process judges photos: to start more takes longer than these few photos."""
    monkeypatch.setattr("os.cpu_count", lambda: 0)


def status(dataset: Dataset) -> dict[int, str]:
    return {photo_id: row["status"] for photo_id, row in rows(dataset).items()}


def flip(file: Path) -> bytes:
    """Change one byte, which no decoder notices; return what is in the file now."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return bytes(content)


def files(dataset: Dataset) -> set[str]:
    """Every photo, wherever it lies."""
    return {str(file.relative_to(dataset.root)) for file in dataset.root.rglob("*.jpg")}


# -- the bytes -----------------------------------------------------------------------------------------------------


def test_a_flipped_byte_is_found_by_verify_alone_and_mended(selected: Selected) -> None:
    dataset = selected([A], wanted=6)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        whole = tree(dataset)
        flip(dataset.images / A / "1002.jpg")
        flip(dataset.images / A / "1005.jpg")
        damaged = tree(dataset)
        summary = download(dataset, options(server))
        assert (summary.damaged, summary.requests) == (0, 0)
        assert tree(dataset) == damaged
        calls: list[tuple[int, int, str]] = []
        summary = download(dataset, options(server, verify=True), lambda *call: calls.append(call))
        assert (summary.damaged, summary.requests, summary.fetched, summary.already_there) == (2, 2, 2, 4)
        assert tree(dataset) == whole
        assert [call for call in calls if call[2] == "check"] == [(6, 6, "check")]
        assert download(dataset, options(server, verify=True)).damaged == 0


def test_after_a_killed_run_it_is_found_without_verify(selected: Selected) -> None:
    dataset = selected([A], wanted=6)
    with running(FaultServer()) as server:
        start(dataset, server, WRAP + MOMENTS["before tidying"]).communicate(timeout=30)
        assert dataset.path(JOURNAL).exists()
        flip(dataset.images / A / "1003.jpg")
        summary = download(dataset, options(server))
    assert (summary.damaged, summary.requests, summary.statuses) == (1, 1, {"ok": 6})


@pytest.mark.parametrize("fault", ["404", "html"])
def test_a_damaged_photo_that_is_gone_meanwhile_is_set_aside_and_not_deleted(selected: Selected, fault: str) -> None:
    dataset = selected([A], wanted=3, reserve=2)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        left = flip(dataset.images / A / "1002.jpg")
        server.faults[1002] = fault
        summary = download(dataset, options(server, verify=True))
        assert (summary.damaged, summary.unselected, summary.from_reserve) == (1, 0, 1)
        assert (dataset.root / "unselected" / A / "damaged-1002.jpg").read_bytes() == left
        assert status(dataset)[1002] == {"404": "gone", "html": "corrupt"}[fault]
        assert_folders_hold_the_manifest(dataset)
        before = tree(dataset)
        assert download(dataset, options(server, verify=True)).requests == 0
    assert tree(dataset) == before


@pytest.mark.parametrize("removed", [False, True])
def test_a_damaged_photo_is_mended_where_it_lies(selected: Selected, removed: bool) -> None:
    dataset = selected([A], wanted=3, reserve=1)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        if removed:
            take_out(dataset, "outlier", 1002)
            download(dataset, options(server))
        before = tree(dataset)
        flip(dataset.locate(f"images/{A}/1002.jpg", "outlier" if removed else None))
        assert download(dataset, options(server, verify=True)).damaged == 1
    assert tree(dataset) == before


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        ("down", {}),
        ("500", {}),
        ("404", {"retry_gone": True}),
    ],
)
def test_a_photo_that_was_found_damaged_is_never_believed_again(
    selected: Selected, monkeypatch: pytest.MonkeyPatch, fault: str, again: dict[str, bool]
) -> None:
    monkeypatch.setattr(crew, "LINE_PATIENCE", 0.1)
    dataset = selected([A], wanted=3)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        whole = tree(dataset)
        flip(dataset.images / A / "1002.jpg")
        if fault == "down":
            with pytest.raises(NetworkDown):
                download(dataset, options(FaultServer(), verify=True))
        else:
            server.faults[1002] = fault
            download(dataset, options(server, verify=True, attempts=1))
            server.faults.clear()
        download(dataset, options(server, **again))
    assert {path: content for path, content in tree(dataset).items() if path in whole} == whole


# -- what cleaning took out ----------------------------------------------------------------------------------------


def take_out(dataset: Dataset, reason: str, *photo_ids: int) -> None:
    for photo_id in photo_ids:
        [place] = dataset.images.glob(f"*/{photo_id}.jpg")
        target = dataset.locate(str(place.relative_to(dataset.root)), reason)
        target.parent.mkdir(parents=True, exist_ok=True)
        place.rename(target)


def test_what_cleaning_took_out_is_filled_up_and_steps_back_when_it_returns(selected: Selected) -> None:
    dataset = selected([A, B], wanted=5, reserve=3)
    with running(FaultServer({1002: "404", 1007: "html"})) as server:
        download(dataset, options(server))
        first = tree(dataset)
        take_out(dataset, "outlier", 1001, 1003)
        take_out(dataset, "duplicate", 2005)
        summary = download(dataset, options(server))
        assert (summary.taken_out, summary.from_reserve, summary.requests) == (3, 3, 4)
        assert summary.shortages == {A: 1}
        assert summary.statuses == {"corrupt": 1, "gone": 1, "ok": 12}
        assert [row["role"] for row in rows(dataset).values()] == ["wanted"] * 5 + ["reserve"] * 3 + [
            *["wanted"] * 5,
            "reserve",
        ]
        assert (dataset.root / "removed" / "outlier" / A / "1001.jpg").exists()
        assert_folders_hold_the_manifest(dataset)
        filled, table, had = tree(dataset), dataset.path("downloads.parquet").read_bytes(), files(dataset)
        for _ in range(2):
            assert download(dataset, options(server)).requests == 0
            assert dataset.path("downloads.parquet").read_bytes() == table
        assert tree(dataset) == filled
        # And back.
        for file in [*dataset.removed.rglob("*.jpg")]:
            file.rename(dataset.images / file.parent.name / file.name)
        summary = download(dataset, options(server))
        assert (summary.taken_out, summary.requests, summary.unselected) == (0, 0, 2)
        assert {path: content for path, content in tree(dataset).items() if path in first} == first
        assert {Path(path).name for path in files(dataset)} == {Path(path).name for path in had}
        assert files(dataset) - set(first) == {f"unselected/{A}/1008.jpg", f"unselected/{B}/2006.jpg"}
        table = dataset.path("downloads.parquet").read_bytes()
        assert download(dataset, options(server)).unselected == 0
        assert dataset.path("downloads.parquet").read_bytes() == table


# -- what the server still has ---------------------------------------------------------------------------------------


class Head:
    """One connection, whose answers to HEAD end with their headers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, methods: list[str]) -> None:
        self.reader, self.writer, self.methods = reader, writer, methods

    async def readuntil(self, end: bytes) -> bytes:
        head = await self.reader.readuntil(end)
        self.methods.append(head.split(b" ", 1)[0].decode())
        return head

    def write(self, answer: bytes) -> None:
        end = answer.index(b"\r\n\r\n") + 4
        self.writer.write(answer[:end] if self.methods[-1] == "HEAD" else answer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.writer, name)


class Bucket(FaultServer):
    """Knows HEAD, and writes down what was asked how."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.connections: list[list[str]] = []

    async def serve(self, reader: Any, writer: Any) -> None:
        self.connections.append([])
        both: Any = Head(reader, writer, self.connections[-1])
        await super().serve(both, both)

    def methods(self) -> list[str]:
        return sorted(method for each in self.connections for method in each)


def test_what_was_taken_down_is_taken_out_and_filled_up(selected: Selected) -> None:
    dataset = selected([A, B], wanted=8, reserve=3)
    with running(Bucket({2003: "404"})) as server:
        download(dataset, options(server))
        server.faults |= {1002: "404", 1005: "410", 2001: "403", 2004: "500", 2005: "418", 2006: "html"}
        server.connections.clear()
        asked = len(server.requests)
        calls: list[tuple[int, int, str]] = []
        summary = recheck(dataset, options(server, attempts=2), progress=lambda *call: calls.append(call))
        assert server.methods() == ["HEAD"] * 17, "one each, and 500 again"
        assert set(server.requests[asked:]) == {f"/photos/{number}/medium.jpg" for number in rows(dataset)} - {
            f"/photos/{number}/medium.jpg" for number in (2003, 1009, 1010, 2010)
        }
        assert calls[-1][:2] == (16, 16)
        withdrawn = {f"withdrawn: the server answered {number}": 1 for number in (403, 404, 410)}
        assert (summary.checked, summary.withdrawn, summary.unanswered) == (16, withdrawn, 2)
        assert not summary.licenses_checked
        found = rows(dataset)
        assert found[1002]["error"] == "withdrawn: the server answered 404"
        assert (found[1002]["status"], found[1002]["path"]) == ("gone", None)
        assert [found[number]["status"] for number in (1009, 1010, 2010)] == ["pending"] * 3
        assert [found[number]["status"] for number in (2004, 2005, 2006)] == ["ok"] * 3
        gone = {f"removed/withdrawn/{A}/1002.jpg", f"removed/withdrawn/{A}/1005.jpg", f"removed/withdrawn/{B}/2001.jpg"}
        assert gone < files(dataset)
        assert not dataset.path(JOURNAL).exists()
        summary_then = download(dataset, options(server))
        assert (summary_then.requests, summary_then.fetched, summary_then.unselected) == (3, 3, 0)
        assert summary_then.shortages == {}
        assert gone < files(dataset)
        assert_folders_hold_the_manifest(dataset)
        before = tree(dataset)
        assert recheck(dataset, options(server, attempts=1)).withdrawn == {}
        assert tree(dataset) == before


@pytest.mark.parametrize("fault", ["chunked", "until-close"])
def test_a_server_that_names_no_length_is_believed_all_the_same(selected: Selected, fault: str) -> None:
    dataset = selected([A], wanted=3)
    with running(FaultServer(dict.fromkeys(range(1001, 1004), fault))) as server:
        download(dataset, options(server))
        server.requests.clear()
        found = recheck(dataset, options(server))
        assert (found.checked, found.unanswered, len(server.requests)) == (3, 0, 3)


def test_what_cleaning_took_out_is_asked_about_too(selected: Selected) -> None:
    dataset = selected([A], wanted=3, reserve=1)
    with running(Bucket()) as server:
        download(dataset, options(server))
        take_out(dataset, "outlier", 1001)
        server.faults[1001] = "404"
        recheck(dataset, options(server))
        assert f"removed/withdrawn/{A}/1001.jpg" in files(dataset)
        assert download(dataset, options(server)).statuses == {"gone": 1, "ok": 3}


def test_licences_are_compared_where_the_catalogue_knows_the_photo(selected: Selected) -> None:
    dataset = selected([A], wanted=5, reserve=4)
    with running(Bucket({1005: "404"})) as server:
        download(dataset, options(server))
        server.faults[1004] = "404"
        licences = {1001: "CC-BY", 1002: "CC0", 1003: None, 1004: "CC0", 1005: None, 1009: None}
        summary = recheck(dataset, options(server), licences)
        errors = {photo_id: row["error"] for photo_id, row in rows(dataset).items() if row["status"] == "gone"}
        assert errors == {
            1002: "relicensed from CC-BY to CC0",
            1003: "withdrawn: no longer in the catalogue, or no longer of its grade",
            1004: "withdrawn: the server answered 404",
            1005: "the server answered 404",
        }
        assert summary.licenses_checked
        assert sum(summary.withdrawn.values()) == 3
        assert {path for path in files(dataset) if "removed" in path} == {
            f"removed/withdrawn/{A}/{number}.jpg" for number in (1002, 1003, 1004)
        }
        assert download(dataset, options(server)).statuses == {"gone": 4, "ok": 5}


def test_a_selection_without_licences_loses_nothing(selected: Selected) -> None:
    dataset = selected([A], wanted=3)
    select(dataset, [{**row, "license": None} for row in selection_rows([A], 3)])
    with running(Bucket()) as server:
        download(dataset, options(server))
        assert recheck(dataset, options(server)).withdrawn == {}


def test_a_relicensed_photo_does_not_come_back_by_retry_gone(selected: Selected) -> None:
    dataset = selected([A], wanted=3)
    with running(Bucket()) as server:
        download(dataset, options(server))
        recheck(dataset, options(server, retry_gone=True), {1002: "CC0"})
        assert download(dataset, options(server, retry_gone=True)).statuses == {"gone": 1, "ok": 2}


def test_a_stand_in_s_record_outlives_a_recheck(selected: Selected) -> None:
    dataset = selected([A, B], wanted=3, reserve=2)
    with running(Bucket({1002: "418"})) as server:
        download(dataset, options(server))
        before = rows(dataset)[1004]
        server.faults[2003] = "404"
        recheck(dataset, options(server))
        download(dataset, options(server))
    assert rows(dataset)[1004] == before


@pytest.mark.parametrize("photos", [70, 9, 1])
@pytest.mark.parametrize("fault", ["403", "500", "closed"])
def test_when_the_server_has_nothing_any_more_nothing_is_taken_out(
    selected: Selected, monkeypatch: pytest.MonkeyPatch, fault: str, photos: int
) -> None:
    monkeypatch.setattr(crew, "LINE_PATIENCE", 0.1)
    dataset = selected([A], wanted=photos)
    with running(Bucket()) as server:
        download(dataset, options(server))
        before = tree(dataset)
        server.faults |= dict.fromkeys(range(1001, 1071), fault)
        with pytest.raises(NetworkDown):
            recheck(dataset, options(server, attempts=2), {1001: None})
        assert tree(dataset) == before


@pytest.mark.parametrize("photos", [70, 2])
def test_a_server_that_had_nothing_for_a_moment_costs_no_photo(selected: Selected, photos: int) -> None:
    class Away(Bucket):
        """Answers 404 to the first requests, some of them for a photo that is known to be there."""

        until = 0

        def words(self, fault: str, path: str, photo_id: int, body: bytes) -> bytes:
            return super().words("404" if self.seen.total() <= self.until else fault, path, photo_id, body)

    dataset = selected([A], wanted=photos)
    with running(Away()) as server:
        download(dataset, options(server))
        server.until = server.seen.total() + min(photos, 60) + 1
        summary = recheck(dataset, options(server))
    assert (summary.checked, summary.withdrawn) == (photos, {})


def test_a_download_that_learnt_nothing_leaves_the_table_as_it_was(
    selected: Selected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "LINE_PATIENCE", 0.1)
    dataset = selected([A], wanted=6, reserve=3)
    with running(FaultServer()) as server:
        download(dataset, options(server))
    take_out(dataset, "outlier", 1001, 1003)
    before = dataset.path("downloads.parquet").read_bytes()
    with pytest.raises(NetworkDown):
        download(dataset, options(FaultServer()))
    assert dataset.path("downloads.parquet").read_bytes() == before, "what was made from it is not stale"
    assert not dataset.path(JOURNAL).exists()


def test_what_the_catalogue_does_not_have_is_lacking_too(selected: Selected) -> None:
    dataset = selected([A], wanted=6)
    selection = dataset.path("selection.parquet")
    write_table(selection, read_table(selection), Receipt("query", {"per_class": 10}))
    with running(FaultServer({1002: "404"})) as server:
        assert download(dataset, options(server)).shortages == {A: 5}


def test_without_a_download_there_is_nothing_to_look_at(selected: Selected) -> None:
    with pytest.raises(StageMissing, match=r"downloads\.parquet"):
        recheck(selected([A], wanted=1))


CUT = {
    "after the journal": "wrap(journal.Journal, 'append', after=1)",
    "after the table": "wrap(again, 'write_table', after=1)",
    "after a move": "wrap(again, 'set_aside', after=1)",
}


@pytest.mark.parametrize("moment", CUT)
def test_killed_at_this_moment_the_next_download_is_whole(selected: Selected, moment: str) -> None:
    dataset = selected([A], wanted=6, reserve=3)
    with running(Bucket()) as server:
        download(dataset, options(server))
        server.faults |= {1002: "404", 1003: "404"}
        again = "import importlib\nagain = importlib.import_module('shroomcurate.download.recheck')\n"
        prelude = f"{WRAP}victim = os.getpid()\n{again}{CUT[moment]}\ndownload = again.recheck"
        process = start(dataset, server, prelude)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL, "the moment never came"
        had = {Path(path).name for path in files(dataset)}
        summary = download(dataset, options(server))
        assert summary.statuses == {"gone": 2, "ok": 6}
        assert (summary.fetched, summary.shortages) == (2, {})
        assert {Path(path).name for path in files(dataset)} == had | {"1007.jpg", "1008.jpg"}
        assert_folders_hold_the_manifest(dataset)
        assert not dataset.path(JOURNAL).exists()
        assert recheck(dataset, options(server)).withdrawn == {}


def test_the_journal_of_a_run_that_was_broken_off_is_kept(selected: Selected) -> None:
    dataset = selected([A], wanted=6, reserve=2)
    with running(Bucket()) as server:
        download(dataset, options(server))
        select(dataset, selection_rows([A, B], 6, 2))
        start(dataset, server, WRAP + MOMENTS["before tidying"]).communicate(timeout=30)
        server.faults |= {1002: "404", 2002: "404"}
        assert sum(recheck(dataset, options(server)).withdrawn.values()) == 2
        assert dataset.path(JOURNAL).exists()
        asked = len(server.requests)
        summary = download(dataset, options(server))
        assert summary.statuses == {"gone": 2, "ok": 12}
        assert sorted(server.requests[asked:]) == ["/photos/1007/medium.jpg", "/photos/2007/medium.jpg"]
        assert not dataset.path(JOURNAL).exists()
