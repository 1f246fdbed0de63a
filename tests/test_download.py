from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import random
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import certifi
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from shroomcurate import transport
from shroomcurate.dataset import Dataset, Receipt, make_table, read_receipt, read_table, write_table
from shroomcurate.download import SCHEMA, DownloadOptions, DownloadSummary, connections, crew, download
from shroomcurate.download.connections import Connections
from shroomcurate.download.journal import JOURNAL
from shroomcurate.download.manifest import HOLES, Photo, Ranks, Record, manifest
from shroomcurate.download.pace import Line
from shroomcurate.errors import BadOption, DamagedFile, DiskFull, NetworkDown, StageMissing
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.transport import Answer, meaning, pause_before, redirect_target, retry_after_seconds
from tests.conftest import jpeg, selection_rows
from tests.fault_server import FaultServer, photo_bytes, running

Selected = Callable[..., Dataset]
A, B = "Amanita_muscaria", "Boletus_edulis"  # photos 1001.. and 2001.. of `selection_rows`


def options(server: FaultServer, **changes: Any) -> DownloadOptions:
    """Waits of a test, not of a network."""
    waits = {"backoff": 0.01, "connect_timeout": 5.0, "read_timeout": 5.0, "photo_timeout": 5.0}
    return DownloadOptions(base_url=server.url, **{**waits, **changes})


def rows(dataset: Dataset) -> dict[int, dict[str, Any]]:
    return {row["photo_id"]: row for row in read_table(dataset.path("downloads.parquet")).to_pylist()}


def tree(dataset: Dataset) -> dict[str, bytes]:
    """Every file but the lock and damaged photos; of the manifest all but when and how often it was asked."""
    files = {
        str(file.relative_to(dataset.root)): file.read_bytes()
        for file in sorted(dataset.root.rglob("*"))
        if file.is_file() and file.name != ".lock" and not file.name.startswith("damaged-")
    }
    if "downloads.parquet" in files:
        table = read_table(dataset.path("downloads.parquet")).drop_columns(["fetched_at", "attempts"])
        files["downloads.parquet"] = str((table.schema.metadata, table.to_pylist())).encode()
    return files


def select(dataset: Dataset, rows: list[dict[str, Any]]) -> None:
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, rows), Receipt("query", {}))


def assert_folders_hold_the_manifest(dataset: Dataset) -> None:
    said = {row["path"]: row["bytes"] for row in rows(dataset).values() if row["status"] == "ok"}
    assert {path: place.stat().st_size for path, place in dataset.photos().items()} == said


# -- decisions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("http_status", "expected"),
    [
        *[(200, "ok"), (403, "gone"), (404, "gone"), (410, "gone"), (301, "redirect"), (307, "redirect")],
        *[(status, "retry") for status in (408, 429, 500, 502, 503, 504, 599)],
        *[(status, "failed") for status in (204, 206, 304, 400, 401, 418, 451)],
    ],
)
def test_each_http_status_has_its_meaning(http_status: int, expected: str) -> None:
    assert meaning(http_status) == expected


@given(st.integers(2, 20), st.floats(0.001, 10), st.none() | st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_over_a_minute_and_honours_the_server(
    attempt: int, backoff: float, retry_after: float | None, jitter: float
) -> None:
    pause = pause_before(attempt, backoff, retry_after, jitter)
    assert 0 < pause <= 60
    assert pause >= min(retry_after or 0, 60)
    assert pause <= pause_before(attempt + 1, backoff, retry_after, jitter)


def test_retry_after_is_understood_as_seconds_and_as_date() -> None:
    now = datetime(2026, 7, 1, tzinfo=UTC)
    assert retry_after_seconds("7", now) == 7
    assert retry_after_seconds(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert retry_after_seconds(format_datetime(now - timedelta(seconds=90), usegmt=True), now) == 0
    assert [retry_after_seconds(value, now) for value in (None, "", "soon", "-1", "1e9", "²")] == [None] * 6


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b.jpg", "http://host:80/b.jpg"),
        ("http://host:80/c", "http://host:80/c"),
        ("http://other/c", None),
        ("https://host:80/c", None),
        ("http://host:81/c", None),
        ("//other/c", None),
        ("http://HOST/c", "http://HOST/c"),
        ("http://host.other/c", None),
        ("http://host:80@other/c", None),
        ("file:///etc/passwd", None),
        ("http://[broken", None),
    ],
)
def test_redirects_stay_on_the_server(location: str, expected: str | None) -> None:
    assert redirect_target("http://host:80/a.jpg", location) == expected


def test_the_line_starts_low_grows_to_its_limit_and_halves_once_per_burst() -> None:
    line = Line(32)
    assert line.allowed == 4
    for _ in range(40):
        line.hear(Answer("ok"), now=0)
    assert line.allowed == 32
    for _ in range(30):
        line.hear(Answer("retry", 503, overloaded=True), now=1.5)
    assert line.allowed == 16
    line.hear(Answer("ok"), now=2)
    assert 16 < line.allowed < 17, "after a refusal it grows slowly"
    assert Line(1).allowed == 1


STATUSES = st.sampled_from(["ok", "gone", "corrupt", "failed"])


@given(st.lists(STATUSES, max_size=30), st.integers(0, 12), st.randoms())
def test_what_is_asked_is_the_shortest_prefix_with_n_whole_photos_in_any_order(
    ends: list[str], wanted: int, chance: random.Random
) -> None:
    photos = [Photo(number, A, "wanted" if number < wanted else "reserve", "jpg") for number in range(len(ends))]
    ranks, records, due = Ranks(photos, wanted), {}, []
    while True:
        due += [photo for photo, _ in ranks.ask(records, ())]
        if not due:
            break
        photo = due.pop(chance.randrange(len(due)))  # answers come in any order
        records[photo.photo_id] = Record(photo.photo_id, ends[photo.photo_id])
        ranks.holes += ends[photo.photo_id] in HOLES
    needed = [length for length in range(len(ends) + 1) if ends[:length].count("ok") >= wanted]
    assert len(records) == (min(needed) if needed else len(ends))
    assert [photo for photo, _ in manifest([Ranks(photos, wanted)], records, ())] == photos[: len(records)]


# -- options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        *[{"base_url": url} for url in ("", "ftp://host", "host/folder", "http://", "https://h?x=1", "http://[")],
        *[{"base_url": url} for url in ("http://xn--/", "http://ä..ö", "http://a..b", "http://h:99999")],
        {"size": "tiny"},
        *[{"concurrency": value} for value in (0, -1, 1000)],
        {"attempts": 0},
        *[{"read_timeout": value} for value in (0.0, -1.0, float("nan"), float("inf"))],
        {"photo_timeout": 0},
        {"backoff": -1},
    ],
)
def test_an_impossible_option_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadOption) as caught:
        DownloadOptions(**wrong)
    assert str(next(iter(wrong.values()))) in caught.value.what
    assert caught.value.hint


def test_without_a_selection_the_hint_names_query(tmp_path: Path) -> None:
    with pytest.raises(StageMissing) as caught:
        download(Dataset(tmp_path))
    assert "query" in caught.value.hint


@pytest.mark.parametrize("name", ["../escape", "", ".hidden", "a/b", ".."])
def test_a_class_that_is_no_folder_name_is_refused(selected: Selected, name: str) -> None:
    with pytest.raises(DamagedFile):
        download(selected([name], wanted=1), DownloadOptions(base_url="http://127.0.0.1:1"))


# -- every fault is a row ----------------------------------------------------------------------------------------

FAULTS = {
    # fault: (status, http_status, attempts)
    "ok": ("ok", 200, 1),
    "404": ("gone", 404, 1),
    "403": ("gone", 403, 1),
    "410": ("gone", 410, 1),
    "500-then-ok": ("ok", 200, 2),
    "500": ("failed", 500, 3),
    "418": ("failed", 418, 1),
    "stall": ("failed", None, 3),
    "drip": ("failed", None, 3),
    "reset": ("failed", None, 3),
    "short": ("failed", None, 3),
    "truncated": ("corrupt", 200, 2),
    "truncated-then-ok": ("ok", 200, 2),
    "html": ("corrupt", 200, 2),
    "empty": ("corrupt", 200, 2),
    "gzip": ("corrupt", 200, 2),
    "huge": ("corrupt", 200, 1),
    "huge-declared": ("corrupt", 200, 1),
    "png": ("ok", 200, 1),
    "off-host": ("failed", 302, 1),
    "on-host": ("ok", 200, 2),
    "loop": ("failed", 302, 3),
}


def test_every_fault_becomes_its_row_and_every_hole_is_filled(
    selected: Selected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_BYTES", 2**20)
    dataset = selected([A], wanted=len(FAULTS), reserve=len(FAULTS))
    faults = {1001 + number: fault for number, fault in enumerate(FAULTS)}
    with running(FaultServer(faults)) as server:
        summary = download(dataset, options(server, attempts=3, read_timeout=0.5, photo_timeout=1.0))
    found = rows(dataset)
    assert {
        fault: (found[photo_id]["status"], found[photo_id]["http_status"], found[photo_id]["attempts"])
        for photo_id, fault in faults.items()
    } == FAULTS
    holes = sum(status != "ok" for status, _, _ in FAULTS.values())
    assert list(found) == [1001 + number for number in range(len(FAULTS) + holes)], "a prefix of the ranks, in order"
    assert summary.statuses["ok"] == summary.fetched == len(FAULTS)
    assert summary.from_reserve == holes
    assert summary.shortages == {}
    assert summary.requests == len(server.requests) == sum(row["attempts"] for row in found.values())
    assert_folders_hold_the_manifest(dataset)
    assert not list(dataset.root.rglob("*.partial"))
    assert not dataset.path(JOURNAL).exists()
    for row in found.values():
        whole = row["status"] == "ok"
        assert (row["error"] is None) == whole
        for name in ("path", "bytes", "sha256", "width", "height"):
            assert (row[name] is not None) == whole, name
    assert "/elsewhere/photos/5001021/medium.jpg" in server.requests
    assert server.agents == {f"user-agent: {transport.USER_AGENT}"}


def test_a_file_end_follows_the_true_type(selected: Selected) -> None:
    dataset = selected([A], wanted=1)
    with running(FaultServer({1001: "png"})) as server:
        download(dataset, options(server))
    assert list(dataset.photos()) == [f"images/{A}/1001.png"]


def test_the_address_takes_size_and_extension_as_written(selected: Selected) -> None:
    dataset = selected([A], wanted=1)
    select(dataset, [{**selection_rows([A], 1)[0], "extension": "JPG"}])
    with running(FaultServer()) as server:
        download(dataset, options(server, size="large"))
        assert server.requests == ["/photos/1001/large.JPG"]
    assert list(dataset.photos()) == [f"images/{A}/1001.jpg"]


def test_a_server_that_asks_for_patience_gets_it(selected: Selected) -> None:
    dataset = selected([A], wanted=1)
    with running(FaultServer({1001: "503-retry-after-then-ok"})) as server:
        summary = download(dataset, options(server))
    assert summary.statuses == {"ok": 1}
    assert summary.seconds >= 1.0


def test_what_the_reserve_cannot_fill_is_reported(selected: Selected) -> None:
    dataset = selected([A, B], wanted=3, reserve=1)
    with running(FaultServer({1001: "404", 1002: "html", 2003: "404"})) as server:
        summary = download(dataset, options(server))
    assert summary.shortages == {A: 1}
    assert summary.classes == 2
    assert summary.statuses == {"corrupt": 1, "gone": 2, "ok": 5}
    assert summary.from_reserve == 2


def test_a_reserve_photo_that_is_not_needed_is_not_asked(selected: Selected) -> None:
    dataset = selected([A], wanted=3, reserve=3)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        assert sorted(server.seen) == [1001, 1002, 1003]
    assert list(rows(dataset)) == [1001, 1002, 1003]


def test_the_table_has_its_schema_and_its_receipt(selected: Selected) -> None:
    dataset = selected([A], wanted=1)
    with running(FaultServer()) as server:
        download(dataset, options(server))
    table = read_table(dataset.path("downloads.parquet"))
    assert table.schema.equals(make_table(SCHEMA, []).schema)
    receipt = read_receipt(dataset.path("downloads.parquet"))
    assert receipt is not None
    assert receipt.stage == "download"
    assert list(receipt.inputs) == ["selection.parquet"]


def test_progress_ends_with_everything_settled(selected: Selected) -> None:
    dataset = selected([A], wanted=5, reserve=2)
    calls: list[tuple[int, int, str]] = []
    with running(FaultServer({1002: "404"})) as server:
        download(dataset, options(server), lambda *call: calls.append(call))
    assert calls[0] == (0, 5, "download")
    assert calls[-1] == (6, 6, "download")
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)


def test_no_more_requests_at_a_time_than_allowed(selected: Selected) -> None:
    dataset = selected([A], wanted=40)
    with running(FaultServer(delay=0.02)) as server:
        download(dataset, options(server, concurrency=6))
    assert 4 < server.most_active <= 6


def test_it_runs_inside_an_event_loop_such_as_a_notebooks(selected: Selected) -> None:
    dataset = selected([A], wanted=2)

    async def cell(server: FaultServer) -> DownloadSummary:
        return download(dataset, options(server))

    with running(FaultServer()) as server:
        assert asyncio.run(cell(server)).statuses == {"ok": 2}


# -- the next run ------------------------------------------------------------------------------------------------


def test_when_everything_is_whole_no_request_is_made_and_no_byte_changes(selected: Selected) -> None:
    dataset = selected([A, B], wanted=4, reserve=2)
    with running(FaultServer({1001: "404", 2002: "html"})) as server:
        download(dataset, options(server))
        before, asked = tree(dataset), len(server.requests)
        summary = download(dataset, options(server))
        assert len(server.requests) == asked
    assert tree(dataset) == before
    assert (summary.requests, summary.fetched, summary.already_there) == (0, 0, 8)


def test_a_failed_photo_is_asked_again_and_its_stand_in_steps_back(selected: Selected) -> None:
    dataset = selected([A], wanted=3, reserve=2)
    with running(FaultServer({1002: "418"})) as server:
        download(dataset, options(server))
        assert list(rows(dataset)) == [1001, 1002, 1003, 1004]
        server.faults.clear()
        summary = download(dataset, options(server))
    assert summary.requests == 1
    assert list(rows(dataset)) == [1001, 1002, 1003]
    assert (dataset.root / "unselected" / A / "1004.jpg").exists()
    assert_folders_hold_the_manifest(dataset)


def test_gone_photos_are_asked_again_only_on_request(selected: Selected) -> None:
    dataset = selected([A], wanted=2)
    with running(FaultServer({1001: "404", 1002: "empty"})) as server:
        download(dataset, options(server))
        server.faults.clear()
        assert download(dataset, options(server)).requests == 0
        assert download(dataset, options(server, retry_gone=True)).statuses == {"ok": 2}


def test_a_photo_that_cleaning_took_out_is_not_fetched_again(selected: Selected) -> None:
    dataset = selected([A], wanted=3)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        before = dataset.path("downloads.parquet").read_bytes()
        removed = dataset.locate(f"images/{A}/1002.jpg", "microscopy")
        removed.parent.mkdir(parents=True)
        (dataset.images / A / "1002.jpg").rename(removed)
        summary = download(dataset, options(server))
    assert summary.requests == 0
    assert removed.exists()
    assert dataset.path("downloads.parquet").read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [lambda file: file.unlink(), lambda file: file.write_bytes(b"short"), lambda file: file.write_bytes(jpeg(9))],
)
def test_a_photo_that_is_no_longer_whole_is_fetched_again(selected: Selected, damage: Callable[[Path], Any]) -> None:
    dataset = selected([A], wanted=3)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        before = tree(dataset)
        damage(dataset.images / A / "1002.jpg")
        assert download(dataset, options(server)).requests == 1
    assert tree(dataset) == before


def test_files_without_a_record_are_decoded_rather_than_fetched(photographed: Selected) -> None:
    dataset = photographed([A], wanted=4)
    (dataset.images / A / "1002.jpg").write_bytes(b"<html>no photo</html>")
    (dataset.images / A / "1003.jpg").rename(dataset.images / A / "1003.jpeg")
    (dataset.images / A / "1004.jpg").rename(dataset.images / A / "1004.jpg.partial")
    with running(FaultServer()) as server:
        summary = download(dataset, options(server))
        assert sorted(server.seen) == [1002, 1004]
    assert (summary.fetched, summary.already_there) == (2, 2)
    assert rows(dataset)[1001]["attempts"] == 0
    assert sorted(dataset.photos()) == [f"images/{A}/{number}.jpg" for number in range(1001, 1005)]
    assert not list(dataset.root.rglob("*.partial"))


def test_a_changed_selection_uses_what_is_there_and_deletes_nothing(selected: Selected) -> None:
    dataset = selected([A, B], wanted=4)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        had = {file.name for file in dataset.images.rglob("*.jpg")}
        # Fewer of A, B under its genus, and a photo of A that was cleaned out.
        removed = dataset.locate(f"images/{B}/2001.jpg", "outlier")
        removed.parent.mkdir(parents=True)
        (dataset.images / B / "2001.jpg").rename(removed)
        renamed = [{**row, "class": str(row["class"]).replace(B, "Boletus")} for row in selection_rows([A, B], 2, 2)]
        select(dataset, renamed)
        summary = download(dataset, options(server))
        assert summary.requests == 0
        assert summary.unselected == 3
        assert summary.taken_out == summary.from_reserve == 1
        assert_folders_hold_the_manifest(dataset)
        assert dataset.locate("images/Boletus/2001.jpg", "outlier").exists()
        assert not (dataset.images / B).exists(), "an empty folder would pass for a class"
        assert {file.name for file in dataset.root.rglob("*.jpg")} == had
        # And back.
        select(dataset, selection_rows([A, B], 4))
        assert download(dataset, options(server)).requests == 0
        assert_folders_hold_the_manifest(dataset)
    assert {file.name for file in dataset.photos().values()} == had


def test_two_sizes_do_not_mix(selected: Selected) -> None:
    dataset = selected([A], wanted=1)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        with pytest.raises(BadOption, match="medium"):
            download(dataset, options(server, size="large"))


# -- the line ----------------------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_dead_line_stops_early_and_loses_nothing(selected: Selected) -> None:
    dataset = selected([A, B], wanted=50, reserve=20)
    dead = DownloadOptions(base_url=f"http://127.0.0.1:{closed_port()}", backoff=0.01)
    with pytest.raises(NetworkDown) as caught:
        download(dataset, dead)
    assert dead.base_url in caught.value.what
    assert "--base-url" in caught.value.hint
    assert {row["status"] for row in rows(dataset).values()} == {"pending"}
    assert len(rows(dataset)) == 100, "no reserve is used up by a dead line"
    with running(FaultServer()) as server:
        assert download(dataset, options(server)).statuses == {"ok": 100}


def test_a_line_that_comes_back_costs_no_photo(selected: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = selected([A], wanted=30)
    real, calls = Connections.ask, 0

    async def flaky(*arguments: Any) -> Answer:
        nonlocal calls
        calls += 1
        return Answer("unreachable", error="no connection") if 10 < calls < 60 else await real(*arguments)

    monkeypatch.setattr(Connections, "ask", flaky)
    with running(FaultServer()) as server:
        assert download(dataset, options(server, attempts=2)).statuses == {"ok": 30}


def test_a_line_that_dies_on_the_way_keeps_what_came(selected: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = selected([A], wanted=20, reserve=10)
    real, calls = Connections.ask, 0

    async def dying(*arguments: Any) -> Answer:
        nonlocal calls
        calls += 1
        return Answer("unreachable", error="no connection") if calls > 8 else await real(*arguments)

    monkeypatch.setattr(Connections, "ask", dying)
    monkeypatch.setattr(crew, "LINE_PATIENCE", 0.3)
    with running(FaultServer()) as server:
        with pytest.raises(NetworkDown):
            download(dataset, options(server))
        assert [row["status"] for row in rows(dataset).values()].count("ok") == 8
        assert len(rows(dataset)) == 20, "no reserve is used up by a dead line"
        monkeypatch.undo()
        assert download(dataset, options(server)).requests == 12
        assert tree(dataset) == undisturbed(dataset, server)


@pytest.mark.parametrize(("fault", "wanted"), [("404", 12), ("403", 80), ("500", 12), ("html", 80)])
def test_a_server_that_has_nothing_costs_no_photo_and_no_reserve(selected: Selected, fault: str, wanted: int) -> None:
    dataset = selected([A], wanted=wanted, reserve=40)
    with running(FaultServer(dict.fromkeys(range(1001, 1200), fault))) as server:
        with pytest.raises(NetworkDown, match=r"/photos/1\d+/medium.jpg: the first \d+ photos all") as caught:
            download(dataset, options(server, attempts=2))
        assert "--base-url" in caught.value.hint
        assert [row["status"] for row in rows(dataset).values()] == ["pending"] * wanted
        server.faults.clear()
        assert download(dataset, options(server)).statuses == {"ok": wanted}
        assert tree(dataset) == undisturbed(dataset, server)


def test_nothing_at_all_of_a_few_photos_is_doubted_and_of_very_few_believed(selected: Selected) -> None:
    with running(FaultServer(dict.fromkeys(range(1001, 1200), "404"))) as server:
        with pytest.raises(NetworkDown, match="the first 12 photos"):
            download(selected([A], wanted=8, reserve=4), options(server))
        assert download(selected([A], wanted=5, reserve=4), options(server)).statuses == {"gone": 9}


def test_photos_that_were_gone_before_and_are_gone_again_raise_no_doubt(selected: Selected) -> None:
    dataset = selected([A], wanted=61)
    with running(FaultServer(dict.fromkeys(range(1002, 1062), "404"))) as server:
        first = download(dataset, options(server, concurrency=1))
        assert first.statuses == {"gone": 60, "ok": 1}
        assert download(dataset, options(server, retry_gone=True)).statuses == first.statuses


@pytest.mark.parametrize("extension", [None, "", "  "])
def test_a_photo_without_a_file_end_is_a_row_and_no_traceback(selected: Selected, extension: str | None) -> None:
    dataset = selected([A], wanted=2, reserve=1)
    some = selection_rows([A], 2, 1)
    select(dataset, [{**some[0], "extension": extension}, *some[1:]])
    with running(FaultServer()) as server:
        assert download(dataset, options(server)).statuses == {"failed": 1, "ok": 2}
    assert "file end" in rows(dataset)[1001]["error"]


@pytest.mark.parametrize(
    "proxy",
    [
        *["foo://us:secret@x", "ftp://x:1", "http://", "http://[::bad", "http://us:secret@x:99999", "x:port"],
        *["http://us:sec#ret@x", "http://us:sec ret@x", "not a proxy"],
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(selected: Selected, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(BadOption, match="ALL_PROXY") as caught:
        download(selected([A], wanted=1), DownloadOptions(base_url="http://photos.invalid"))
    assert "unset ALL_PROXY" in caught.value.hint
    assert "sec" not in f"{caught.value}"


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_proxy_is_asked_where_the_environment_names_one(
    selected: Selected, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    dataset = selected([A], wanted=2)
    far = DownloadOptions(base_url="http://photos.invalid", attempts=1, backoff=0.01)
    with running(FaultServer()) as server:
        for name in ("ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"{scheme}127.0.0.1:{server.port}")
        monkeypatch.setenv("NO_PROXY", "photos.invalid")
        with pytest.raises(NetworkDown, match="resolve"):
            download(dataset, far)
        assert server.requests == []
        monkeypatch.setenv("NO_PROXY", "other.invalid")
        assert download(dataset, far).statuses == {"ok": 2}
        assert server.requests[0] == "http://photos.invalid/photos/1001/medium.jpg"


def test_the_api_needs_one_more_package_behind_a_socks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(BadOption, match="ALL_PROXY") as caught:
        transport.open_client("http://api.invalid", 1, 1.0, 1.0)
    assert "httpx[socks]" in caught.value.hint


def test_an_address_in_other_letters_is_spelt_for_servers(selected: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = selected([A], wanted=2)
    with running(FaultServer()) as server:
        monkeypatch.setenv("ALL_PROXY", f"us:päss@127.0.0.1:{server.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        far = DownloadOptions(base_url="http://us:pw@bücher.invalid:81/ü x+y%20z")
        assert download(dataset, far).statuses == {"ok": 2}
        place = "http://xn--bcher-kva.invalid:81/%C3%BC%20x+y%20z/photos/1001/medium.jpg"
        assert server.requests[0] == place


def test_photos_come_in_a_process_in_which_tensorflow_has_been_loaded(selected: Selected) -> None:
    with running(FaultServer()) as server:
        process = start(selected([A], wanted=2), server, "import tensorflow")
        assert process.wait(120) == 0
    assert len(server.requests) == 2


def test_patience_may_be_without_end(selected: Selected) -> None:
    waits = dict.fromkeys(("connect_timeout", "read_timeout", "photo_timeout"), 1e306)
    with running(FaultServer()) as server:
        assert download(selected([A], wanted=1), options(server, **waits)).statuses == {"ok": 1}


def test_user_and_password_of_the_address_go_to_where_a_redirect_leads(selected: Selected) -> None:
    with running(FaultServer({1001: "on-host"})) as server:
        known = DownloadOptions(base_url=server.url.replace("http://", "http://us:pw@"))
        assert download(selected([A], wanted=1), known).statuses == {"ok": 1}
    assert len(server.requests) == 2
    assert server.users == ["Authorization: Basic dXM6cHc="] * 2


def test_certificates_may_lie_in_a_folder_of_any_name(
    selected: Selected, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "jörg" / "authorities.pem"
    elsewhere.parent.mkdir()
    shutil.copyfile(certifi.where(), elsewhere)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(certifi, "where", lambda: str(elsewhere))
    with running(FaultServer()) as server:
        assert download(selected([A], wanted=1), options(server)).statuses == {"ok": 1}
        monkeypatch.setenv("SSL_CERT_DIR", str(elsewhere.parent))
        assert download(selected([A, B], wanted=1), options(server)).statuses == {"ok": 2}


@pytest.mark.parametrize("scheme", ["http://", "https://", "socks5://", "socks5h://"])
def test_a_proxy_that_is_away_is_no_photos_fault(
    selected: Selected, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}127.0.0.1:{closed_port()}")
    dataset = selected([A], wanted=2)
    with pytest.raises(NetworkDown, match="refused"):
        download(dataset, DownloadOptions(base_url="http://photos.invalid", attempts=1, backoff=0.01))
    assert {row["status"] for row in rows(dataset).values()} == {"pending"}


def test_a_server_whose_certificate_nobody_vouches_for_is_asked_for_nothing(
    selected: Selected, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dataset, authority, tls = selected([A], wanted=3), trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with running(FaultServer(), tls) as server:
        secure = replace(options(server), base_url=server.url.replace("http:", "https:"))
        with pytest.raises(NetworkDown, match="certificate"):
            download(dataset, secure)
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path / 'authority.pem'}")
        assert download(dataset, secure).statuses == {"ok": 3}


@pytest.mark.parametrize("hangs", [True, False])
def test_an_interrupted_command_does_not_wait_for_a_thread_that_hangs(hangs: bool) -> None:
    script = textwrap.dedent(f"""
        import threading, time
        from shroomcurate.terminal import Terminal, own_this_process, reported
        own_this_process()
        if {hangs}:
            threading.Thread(target=time.sleep, args=(60,)).start()
        with reported(Terminal()):
            raise KeyboardInterrupt
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert "type the same command again" in done.stderr
    assert (done.returncode == 130) == hangs, "without one it ends in the ordinary way, by an exception"


# -- cut short ---------------------------------------------------------------------------------------------------

SCRIPT = """
import importlib, json, os, signal, sys, time
from shroomcurate.dataset import Dataset
from shroomcurate.download import DownloadOptions, download
stage = importlib.import_module("shroomcurate.download")
from shroomcurate.download import hand, journal, places, store
{prelude}
options = json.loads(sys.argv[2])
try:
    download(Dataset(sys.argv[1]), DownloadOptions(**options))
except BaseException as error:
    print(type(error).__name__, time.time(), flush=True)
    os._exit(1)
"""
LASTING = {1002: "404", 1005: "html", 1007: "418", 2001: "truncated", 2004: "reset", 2006: "png"}


def start(dataset: Dataset, server: FaultServer, prelude: str = "", **changes: Any) -> subprocess.Popen[str]:
    settings = {"base_url": server.url, "backoff": 0.01, **changes}
    script = SCRIPT.format(prelude=textwrap.dedent(prelude))
    command = [sys.executable, "-c", script, str(dataset.root), json.dumps(settings)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def undisturbed(dataset: Dataset, server: FaultServer) -> dict[str, bytes]:
    other = Dataset(dataset.root.with_name("undisturbed"))
    other.root.mkdir()
    other.path("selection.parquet").write_bytes(dataset.path("selection.parquet").read_bytes())
    download(other, options(server))
    return tree(other)


MOMENTS = {
    "before a record": "in_hand(\"wrap(journal.Journal, 'append', before=3)\")",
    "between record and file": "in_hand(\"wrap(places.Unplaced, 'put_in_place', before=3)\")",
    # Four are written, by two processes: one of them writes two.
    "before a file": "in_hand(\"wrap(places.Unplaced, 'write', before=2)\")",
    "after a file": "in_hand(\"wrap(places.Unplaced, 'put_in_place', after=3)\")",
    "before a hole is recorded": "wrap(journal.Journal, 'append', before=1)",
    "before tidying": "wrap(stage, 'tidy', before=1)",
    "amid tidying": "wrap(places, '_move', after=2)",
    "between tidying and the table": "wrap(stage, 'tidy', after=1)",
    "between the table and the journal's end": "wrap(stage, 'write_table', after=1)",
}
# A process that judges photos dies with the one that fetches them, at a moment of its own.
WRAP = """
import os, signal, sys, threading
lock = threading.Lock()
def wrap(owner, name, before=0, after=0):
    real, calls = getattr(owner, name), 0
    def die():
        if victim != os.getpid():
            os.kill(victim, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    def wrapper(*args, **kwargs):
        nonlocal calls
        with lock:
            calls += 1
            now = calls
        if now == before:
            die()
        result = real(*args, **kwargs)
        if now == after:
            die()
        return result
    setattr(owner, name, wrapper)
"""
IN_HAND = """
victim = os.getpid()
def in_hand(act):
    begin = f"victim = {victim}\\nfrom shroomcurate.download import hand, journal, places\\n"
    code = f"{wrap_code}{begin}{act}\\nhand.main()"
    hand.COMMAND = (sys.executable, "-c", code)
    os.cpu_count = lambda: 0  # one of them, so that its third photo is the run's
    store._BATCH = 1  # and its third batch comes, however slowly it starts
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A dataset whose selection has changed since its download, and what the next download makes of it undisturbed."""
    dataset = Dataset(tmp_path_factory.mktemp("changed") / "dataset")
    with running(FaultServer(LASTING)) as server:
        select(dataset, selection_rows([B], 5, 2))
        download(dataset, options(server))
        select(dataset, [row for row in selection_rows([A, B], 5, 3) if row["photo_id"] not in (2002, 2003)])
        smooth = Dataset(shutil.copytree(dataset.root, dataset.root.with_name("smooth")))
        download(smooth, options(server))
    return dataset.root, tree(smooth)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_this_moment_a_changed_selection_ends_with_the_same_bytes(
    changed: tuple[Path, dict[str, bytes]], tmp_path: Path, moment: str
) -> None:
    before, smooth = changed
    killed = Dataset(shutil.copytree(before, tmp_path / "killed"))
    with running(FaultServer(LASTING)) as server:
        process = start(killed, server, f"wrap_code = {WRAP!r}\n{WRAP}{IN_HAND}{MOMENTS[moment]}", concurrency=1)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL, "the moment never came"
        download(killed, options(server))
    assert tree(killed) == smooth


def test_a_torn_journal_costs_one_photo(selected: Selected) -> None:
    dataset = selected([A], wanted=10)
    with running(FaultServer()) as server:
        expected = undisturbed(dataset, server)
        process = start(dataset, server, WRAP + MOMENTS["before tidying"])
        process.communicate(timeout=30)
        journal = dataset.path(JOURNAL)
        journal.write_bytes(journal.read_bytes()[:-20])
        (dataset.images / A / "x.jpg.partial").write_bytes(b"torn")
        server.requests.clear()
        torn = json.loads(b"{" + journal.read_bytes().rsplit(b"{", 1)[1].split(b", ")[0] + b"}")["photo_id"]
        (dataset.images / A / f"{torn}.jpg").unlink()
        download(dataset, options(server))
        assert server.requests == [f"/photos/{torn}/medium.jpg"]
    assert tree(dataset) == expected


@pytest.mark.parametrize("fault", ["stall", "ok"])
def test_interrupted_it_ends_within_two_seconds_and_goes_on_later(selected: Selected, fault: str) -> None:
    dataset = selected([A, B], wanted=25, reserve=5)
    with running(FaultServer({1003: fault, 1004: fault}, delay=0.05)) as server:
        process = start(dataset, server)
        while len(server.requests) < 12 and process.poll() is None:
            time.sleep(0.005)
        pressed = time.time()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        name, ended = out.split()
        assert name == "KeyboardInterrupt"
        assert float(ended) - pressed < 2
        interrupted = rows(dataset)
        assert len(interrupted) == 50
        assert {row["status"] for row in interrupted.values()} == {"ok", "pending"}
        assert all((dataset.root / row["path"]).exists() for row in interrupted.values() if row["status"] == "ok")
        server.faults.clear()
        server.requests.clear()
        download(dataset, options(server))
        assert len(server.requests) == sum(row["status"] == "pending" for row in interrupted.values())
        assert tree(dataset) == undisturbed(dataset, server)


SILENT = """
#include <unistd.h>
struct addrinfo;
int getaddrinfo(const char *name, const char *port, const struct addrinfo *wish, struct addrinfo **found) {
    (void)!write(1, "asked\\n", 6);
    sleep(60);
    return -2;
}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="preloads a resolver")
def test_a_silent_name_server_does_not_delay_an_interrupt(
    selected: Selected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, resolver = selected([A], wanted=5), tmp_path / "silent.so"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(resolver)]
    subprocess.run(command, input=SILENT, text=True, check=True)
    monkeypatch.setenv("LD_PRELOAD", str(resolver))
    with running(FaultServer()) as server:
        # pycurl as it comes: as `download` loads it, it would find the system's resolver first.
        process = start(dataset, server, "import pycurl", base_url="http://photos.invalid")
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        pressed = time.time()
        process.send_signal(signal.SIGINT)
        last = process.communicate(timeout=30)[0].splitlines()[-1].split()
    assert last[0] == "KeyboardInterrupt"
    assert float(last[1]) - pressed < 2


def test_an_interrupt_amid_a_changed_selection_forgets_no_record(selected: Selected) -> None:
    """What an earlier run fetched, and the table of the run cut short does not list, still counts."""
    trees = []
    for name in ("interrupted", "smooth"):
        dataset = Dataset(selected([A], wanted=1).root.with_name(name))
        with running(FaultServer({1009: "404"})) as server:
            select(dataset, selection_rows([A], 12))
            download(dataset, options(server))
            # 1010 is now a reserve photo, asked for only once 1009 is known to be gone.
            shuffled = selection_rows([A], 5, 7)
            for row in shuffled:
                row["photo_id"] = {1001: 1101, 1002: 1009, 1009: 1002}.get(int(str(row["photo_id"])), row["photo_id"])
            select(dataset, shuffled)
            if name == "interrupted":
                server.faults[1101] = "stall"
                process = start(dataset, server)
                while "/photos/1101/medium.jpg" not in server.requests and process.poll() is None:
                    time.sleep(0.005)
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=30)
                del server.faults[1101]
            server.faults[1101] = "404"
            download(dataset, options(server))
            trees.append(tree(dataset))
    assert trees[0] == trees[1]


def test_a_full_disk_keeps_what_is_finished(selected: Selected) -> None:
    dataset = selected([A], wanted=12)
    big = jpeg(1, size=(1200, 1200), quality=95)

    def content(photo_id: int, name: str) -> bytes:
        return big if photo_id == 1012 else photo_bytes(photo_id)

    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({len(big) - 1},) * 2)"
    with running(FaultServer(content=content)) as server:
        process = start(dataset, server, limit, concurrency=1)
        assert process.communicate(timeout=30)[0].split()[0] == DiskFull.__name__
        assert len(dataset.photos()) == 11
        assert not list(dataset.root.rglob("*.partial"))
        server.requests.clear()
        assert download(dataset, options(server)).statuses == {"ok": 12}
        assert len(server.requests) == 1
        assert tree(dataset) == undisturbed(dataset, server)


# -- real photographs --------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_real_photos_get_the_status_that_the_truth_says(selected: Selected, shared: Path) -> None:
    mini = shared / "inat-mini"
    with (mini / "truth.csv").open() as handle:
        truth = list(csv.DictReader(handle))
    with gzip.open(mini / "metadata" / "photos.csv.gz", "rt") as handle:
        table = csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        extension = {row["photo_id"]: row["extension"] for row in table}
    dataset = selected([A], wanted=1)
    select(
        dataset,
        [
            {
                "photo_id": int(row["photo_id"]),
                "class": row["species"].replace(" ", "_"),
                "rank_in_class": rank,
                "role": "wanted",
                "extension": extension[row["photo_id"]],
            }
            for rank, row in enumerate(truth, 1)
        ],
    )

    def content(photo_id: int, name: str) -> bytes | None:
        file = mini / "photos" / str(photo_id) / name
        return file.read_bytes() if file.exists() else None

    with running(FaultServer(content=content)) as server:
        download(dataset, options(server))
    said = {"served": "ok", "gone": "gone", "truncated": "corrupt", "empty": "corrupt"}
    found = rows(dataset)
    assert {int(row["photo_id"]): said[row["state"]] for row in truth} == {i: row["status"] for i, row in found.items()}
    assert_folders_hold_the_manifest(dataset)
