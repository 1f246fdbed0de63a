"""What comes after a first download: a dry run, another selection, a look whether photos still stand; and the pace."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from shroomcurate.dataset import Dataset, Receipt, make_table, read_table, write_table
from shroomcurate.download import DownloadOptions, crew, download, plan, recheck
from shroomcurate.download.connections import Connections
from shroomcurate.download.manifest import Photo, Record
from shroomcurate.download.pace import Line
from shroomcurate.download.server import Server
from shroomcurate.errors import DamagedFile
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.transport import Answer
from tests.conftest import selection_rows
from tests.fault_server import FaultServer, photo_bytes, running

Selected = Callable[..., Dataset]
A, B = "Amanita_muscaria", "Boletus_edulis"


def select(dataset: Dataset, rows: list[dict[str, object]]) -> None:
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, rows), Receipt("query", {}))


def test_a_plan_counts_what_a_run_would_ask_for(selected: Selected) -> None:
    dataset = selected([A, B], wanted=5, reserve=2)
    with running(FaultServer({1002: "404"})) as server:
        asked = DownloadOptions(server.url)
        download(dataset, asked)
        select(dataset, selection_rows([A], 6))  # B is no longer selected
        (dataset.images / A / "1003.jpg").write_bytes(b"cut")
        (dataset.images / A / "1005.jpg").unlink()
        expected = plan(dataset, asked)
        summary = download(dataset, asked)
    assert (expected.photos, expected.already_there) == (2, 3)
    assert (summary.fetched, summary.already_there) == (2, 3)


def test_a_plan_counts_a_file_without_a_record_as_here(photographed: Selected) -> None:
    dataset = photographed([A], wanted=3)
    (dataset.images / A / "1002.jpg").unlink()
    expected = plan(dataset, DownloadOptions())
    assert (expected.photos, expected.already_there) == (1, 2)


def test_a_photo_whose_address_nobody_knows_is_not_withdrawn(selected: Selected) -> None:
    dataset = selected([A], wanted=3)
    rows = selection_rows([A], 3)
    rows[0]["extension"] = None
    select(dataset, rows)
    (dataset.images / A).mkdir(parents=True)
    (dataset.images / A / "1001.jpg").write_bytes(photo_bytes(1001))
    with running(
        FaultServer(content=lambda photo_id, name: photo_bytes(photo_id) if name[-1] == "g" else None)
    ) as server:
        download(dataset, DownloadOptions(server.url))
        summary = recheck(dataset, DownloadOptions(server.url))
    assert (summary.withdrawn, summary.unanswered) == ({}, 1)
    assert (dataset.images / A / "1001.jpg").exists()


def test_a_selection_with_a_photo_twice_is_refused(selected: Selected) -> None:
    dataset = selected([A, B], wanted=2)
    rows = selection_rows([A, B], 2)
    rows[2]["photo_id"] = 1001
    select(dataset, rows)
    with pytest.raises(DamagedFile, match="twice"):
        plan(dataset)


def test_damage_is_found_however_many_photos_there_are(selected: Selected) -> None:
    dataset = selected([A], wanted=130)
    with running(FaultServer()) as server:
        download(dataset, DownloadOptions(server.url))
        for photo_id in (1001, 1064, 1065, 1130):
            file = dataset.images / A / f"{photo_id}.jpg"
            file.write_bytes(bytes(file.stat().st_size))
        assert download(dataset, DownloadOptions(server.url)).requests == 0
        seen: list[tuple[int, int]] = []
        summary = download(
            dataset,
            DownloadOptions(server.url, verify=True),
            lambda done, total, label: seen.append((done, total)) if label == "check" else None,
        )
    assert (summary.damaged, summary.fetched, summary.already_there) == (4, 4, 126)
    assert seen[-1] == (130, 130)
    assert {row["status"] for row in read_table(dataset.path("downloads.parquet")).to_pylist()} == {"ok"}


def test_behind_a_pause_requests_keep_their_distance() -> None:
    line = Line(32, (10.0, math.inf))
    line.hear(Answer("retry", 503, overloaded=True, retry_after=5.0), now=0.0)
    assert [line.turn(0.0) for _ in range(3)] == pytest.approx([5.0, 5.1, 5.2])


def test_a_pause_that_a_server_asks_for_holds_also_those_who_wait_for_their_turn() -> None:
    """Without a network: the first answer asks for a pause while the second request sleeps."""
    sent: list[float] = []

    async def ask() -> None:
        server = Server(DownloadOptions("http://127.0.0.1:1", max_rate=("5",), attempts=1))
        async with server:
            both = asyncio.gather(server.ask_once("http://127.0.0.1:1/1"), server.ask_once("http://127.0.0.1:1/2"))
            await asyncio.sleep(0.05)
            server.line.hear(Answer("retry", 503, overloaded=True, retry_after=0.6), time.monotonic())
            await both
        sent.append(time.monotonic() - started)

    started = time.monotonic()
    asyncio.run(ask())
    assert sent[0] > 0.6


class Nothing:
    """The work of nobody."""

    def __init__(self) -> None:
        self.ends: list[Record] = []

    async def settle(self, photo: Photo) -> crew.End:
        raise AssertionError(photo)

    def show(self) -> None:
        pass

    def expects(self) -> bool:
        return False

    def hole(self, photo: Photo) -> None:
        pass

    def done(self, _: Photo, record: Record) -> None:
        self.ends.append(record)


def test_a_photo_that_comes_during_the_last_doubt_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "LINE_PATIENCE", 0.0)
    work = Nothing()

    async def doubt() -> int:
        photos = [Photo(number, A, "wanted", "jpg") for number in range(20)]
        server = Server(DownloadOptions())
        ours = crew.Crew(server, work, photos[:1])
        ours.doubted = failures(photos[2:])

        async def hangs_while_another_comes(url: str, method: str = "GET") -> Answer:
            ours._count(photos[1], crew.End(Record(1, "ok", attempts=1), 99))
            return Answer("retry", error="timed out")

        monkeypatch.setattr(server, "ask_once", hangs_while_another_comes)
        await ours._look()
        assert ours.steady.is_set()
        return ours.queue.qsize()

    assert asyncio.run(doubt()) + len(work.ends) == 19, "18 failed in a row: they are asked for once more"


def test_failures_that_come_in_behind_an_outage_are_asked_for_once_more_too() -> None:
    work = Nothing()

    async def doubt() -> int:
        photos = [Photo(number, A, "wanted", "jpg") for number in range(20)]
        ours = crew.Crew(Server(DownloadOptions()), work)
        for some in (photos[:3], photos[3:15], photos[15:18]):
            ours.doubted = failures(some)
            ours._believe([*ours.doubted])
        return ours.queue.qsize()

    assert asyncio.run(doubt()) == 12 + 3
    assert [end.photo_id for end in work.ends] == [0, 1, 2], "before there was one, a few failures are just that"


def failures(photos: list[Photo]) -> list[tuple[Photo, crew.End]]:
    return [(photo, crew.End(Record(photo.photo_id, "failed", error="it answered 500"))) for photo in photos]


def test_a_photo_that_alone_cannot_be_reached_is_given_up(selected: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = selected([A], wanted=4, reserve=1)
    real = Connections.ask

    async def refused(*asked: Any, **named: Any) -> Answer:
        if "/1003/" in asked[1]:
            return Answer("unreachable", error="no connection (refused)")
        return await real(*asked, **named)

    monkeypatch.setattr(Connections, "ask", refused)
    with running(FaultServer()) as server:
        summary = download(dataset, DownloadOptions(server.url, attempts=1))
    assert summary.statuses == {"failed": 1, "ok": 4}
