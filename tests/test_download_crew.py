"""The workers of a download and the processes that judge for them: what they believe, and that none is left over."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shroomcurate import transport
from shroomcurate.dataset import Dataset
from shroomcurate.download import SIZES, crew, download, hand
from shroomcurate.download.connections import Connections
from shroomcurate.errors import DiskFull, NetworkDown
from tests.conftest import jpeg
from tests.fault_server import FaultServer, running
from tests.test_download import (
    A,
    Selected,
    assert_folders_hold_the_manifest,
    closed_port,
    options,
    rows,
    start,
    tree,
    undisturbed,
)

# -- the crew ------------------------------------------------------------------------------------------------------


class Turning(FaultServer):
    """From one request to another every photo, or every one that has not come before, ends differently."""

    def __init__(self, fault: str, after: int, until: float = math.inf, spared: bool = False) -> None:
        super().__init__()
        self.fault, self.after, self.until, self.spared = fault, after, until, spared
        self.came: set[int] = set()
        self.images: Path | None = None

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> bool:
        """Wait, where that is asked for, until what came has been judged."""
        if self.images is not None and self.seen.total() >= self.after:
            while len([*self.images.rglob("*.jpg")]) < len(self.came):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
        return await super().answer(path, writer)

    def words(self, fault: str, path: str, photo_id: int, body: bytes) -> bytes:
        if self.after < self.seen.total() <= self.until and not (self.spared and photo_id in self.came):
            return super().words(self.fault, path, photo_id, body)
        self.came.add(photo_id)
        return super().words(fault, path, photo_id, body)


@pytest.mark.parametrize("concurrency", [1, 3, 17])
def test_no_more_requests_are_on_their_way_than_allowed(selected: Selected, concurrency: int) -> None:
    faults = dict(zip(range(1001, 1041), ["500-then-ok", "ok", "on-host", "429-then-ok", "404"] * 8, strict=True))
    with running(FaultServer(faults, delay=0.01)) as server:
        download(selected([A], wanted=40, reserve=9), options(server, concurrency=concurrency))
    assert server.most_active <= concurrency


def test_when_all_is_refused_from_a_moment_on_nothing_counts_as_gone(
    selected: Selected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "LINE_PATIENCE", 0.2)
    dataset = selected([A], wanted=120, reserve=60)
    with running(Turning("403", after=40)) as server:
        server.images = dataset.images
        with pytest.raises(NetworkDown, match="Nothing comes any more"):
            download(dataset, options(server))
        found = rows(dataset)
        assert len(found) == 120, "the reserve is not used up"
        assert {photo_id for photo_id, row in found.items() if row["status"] == "ok"} == server.came
        assert {row["status"] for row in found.values()} == {"ok", "pending"}
        assert hands(dataset) == []
        server.after = 10**9
        assert download(dataset, options(server)).requests == 120 - 40
        assert tree(dataset) == undisturbed(dataset, server)


def test_nor_when_what_came_before_that_moment_is_judged_after_it(
    selected: Selected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "LINE_PATIENCE", 0.2)
    monkeypatch.setattr(hand, "COMMAND", acting(10, "__import__('time').sleep(0.2)"))
    dataset = selected([A], wanted=120, reserve=60)
    with running(Turning("403", after=10)) as server:
        with pytest.raises(NetworkDown):
            download(dataset, options(server))
        assert {row["status"] for row in rows(dataset).values()} == {"ok", "pending"}


def test_when_what_came_comes_again_the_others_are_believed_to_be_gone(selected: Selected) -> None:
    with running(Turning("403", after=40, spared=True)) as server:
        summary = download(selected([A], wanted=120, reserve=60), options(server))
    assert summary.statuses == {"gone": 140, "ok": 40}
    assert summary.shortages == {A: 80}


@pytest.mark.parametrize(
    "at_once",
    [
        False,
        True,
    ],
)
def test_a_server_that_recovers_costs_no_photo(
    selected: Selected, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    monkeypatch.setattr(crew, "LINE_PATIENCE", 20)
    dataset = selected([A], wanted=120, reserve=120)
    with running(Turning("500", after=40, until=160)) as server:
        summary = download(dataset, options(server, attempts=2))
        assert summary.shortages == {}
        assert_folders_hold_the_manifest(dataset)
        assert (summary.already_there, summary.fetched - summary.unselected) == (0, 120)
        if at_once:
            assert summary.statuses == {"ok": 120}
        assert download(dataset, options(server)).statuses == {"ok": 120}
    assert list(rows(dataset)) == [*range(1001, 1121)]


@pytest.mark.parametrize("fault", ["500", "403", "closed", "html", None])
def test_a_dead_server_is_asked_seldom(selected: Selected, monkeypatch: pytest.MonkeyPatch, fault: str | None) -> None:
    real, asked = Connections.ask, Counter[str]()

    async def counted(client: Any, url: str, *arguments: Any) -> transport.Answer:
        asked[url] += 1
        return await real(client, url, *arguments)

    monkeypatch.setattr(Connections, "ask", counted)
    dataset = selected([A], wanted=2000)
    with running(FaultServer(dict.fromkeys(range(1001, 3001), fault or "ok"))) as server:
        place = server.url if fault else f"http://127.0.0.1:{closed_port()}"
        with pytest.raises(NetworkDown):
            download(dataset, replace(options(server), base_url=place))
    assert asked.total() <= 4 * (crew.ENOUGH + 32 + crew._AHEAD), "photos that were doubted, or on their way"
    assert max(asked.values()) == {"403": 1, "html": 2}.get(str(fault), 4)
    assert {row["status"] for row in rows(dataset).values()} == {"pending"}


# -- the hand ------------------------------------------------------------------------------------------------------


def hands(dataset: Dataset) -> list[int]:
    """The processes that judge photos of this dataset."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if words[-3:-2] == [str(dataset.root)] and words[-2] in SIZES:
            found.append(int(folder.name))
    return found


def acting(photo_id: int, act: str, within: str = "hand.judged", once: Path | None = None) -> tuple[str, ...]:
    """The command of a process that does something of its own when this photo is before it."""
    owner, _, name = within.rpartition(".")
    return (
        sys.executable,
        "-c",
        textwrap.dedent(f"""
            import os, pathlib, signal
            from shroomcurate.download import hand
            from shroomcurate.errors import DiskFull
            real = {within}
            def wrapped(*arguments):
                if "{photo_id}" in repr(vars(arguments[0]) if hasattr(arguments[0], "files") else arguments[0]):
                    if not {bool(once)} or not pathlib.Path({str(once)!r}).exists():
                        {once is not None and f"pathlib.Path({str(once)!r}).touch()"}
                        {act}
                return real(*arguments)
            {owner}.{name} = wrapped
            hand.main()
        """),
    )


KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def test_a_killed_hand_costs_nothing(selected: Selected) -> None:
    dataset = selected([A], wanted=60)

    kills = {1005, 1030, 1060}

    def content(photo_id: int, name: str) -> bytes:
        if photo_id in kills:
            kills.remove(photo_id)
            for process in hands(dataset):
                os.kill(process, signal.SIGKILL)
        return jpeg(photo_id, size=(40, 30))

    with running(FaultServer(content=content)) as server:
        assert download(dataset, options(server)).statuses == {"ok": 60}
        assert not kills
        for left in dataset.root.rglob("*.partial"):
            left.unlink()
        assert tree(dataset) == undisturbed(dataset, server)


def test_nor_any_photo_when_each_is_asked_for_once(
    selected: Selected, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dataset = selected([A], wanted=1)
    monkeypatch.setattr(hand, "COMMAND", acting(1001, KILL, once=tmp_path / "once"))
    with running(FaultServer()) as server:
        assert download(dataset, options(server, attempts=1)).statuses == {"ok": 1}


def test_a_decoder_that_never_ends_costs_its_photo(selected: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = selected([A], wanted=5)
    monkeypatch.setattr(hand, "PATIENCE", 1.0)
    monkeypatch.setattr(hand, "COMMAND", acting(1003, "__import__('time').sleep(60)"))
    with running(FaultServer()) as server:
        assert download(dataset, options(server)).statuses == {"corrupt": 1, "ok": 4}
    assert "ends the decoder" in rows(dataset)[1003]["error"]


def test_nor_does_it_leave_half_a_photo(selected: Selected, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dataset = selected([A], wanted=5)
    monkeypatch.setattr(hand, "COMMAND", acting(1003, KILL, "hand.Unplaced.put_in_place", once=tmp_path / "once"))
    with running(FaultServer()) as server:
        assert download(dataset, options(server)).statuses == {"ok": 5}
    assert (tmp_path / "once").exists()
    assert not list(dataset.root.rglob("*.partial"))


def test_a_photo_that_ends_the_decoder_is_corrupt_and_the_others_are_not(
    selected: Selected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand, "COMMAND", acting(1005, KILL))
    monkeypatch.setattr("os.cpu_count", lambda: 0)
    dataset = selected([A], wanted=20, reserve=2)
    with running(FaultServer()) as server:
        assert download(dataset, options(server)).statuses == {"corrupt": 1, "ok": 20}
    found = rows(dataset)
    assert "ends the decoder (-9)" in found[1005]["error"]
    assert (found[1005]["path"], found[1005]["attempts"]) == (None, 2)
    assert hands(dataset) == []
    assert_folders_hold_the_manifest(dataset)


def test_no_hand_outlives_a_full_disk(selected: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand, "COMMAND", acting(1005, "raise DiskFull('no room', 'make some')"))
    dataset = selected([A], wanted=20)
    with running(FaultServer()) as server, pytest.raises(DiskFull, match="no room"):
        download(dataset, options(server))
    assert hands(dataset) == []


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_no_hand_outlives_whoever_started_it(selected: Selected, blow: signal.Signals) -> None:
    dataset = selected([A], wanted=200)
    with running(FaultServer(dict.fromkeys(range(1021, 1201), "silent"))) as server:
        process = start(dataset, server)
        while len([*dataset.images.rglob("*.jpg")]) < 20 and process.poll() is None:
            time.sleep(0.01)
        assert hands(dataset), "they wait for more"
        process.send_signal(blow)
        process.communicate(timeout=20)
        given_up = time.monotonic() + 5
        while hands(dataset) and time.monotonic() < given_up:
            time.sleep(0.02)
        assert hands(dataset) == []


def test_a_hand_that_cannot_be_started_ends_the_run(selected: Selected) -> None:
    dataset = selected([A], wanted=3)
    with running(FaultServer()) as server:
        process = start(dataset, server, "hand.COMMAND = ('/there/is/no/such/program',)")
        while len(server.requests) < 3 and process.poll() is None:
            time.sleep(0.01)
        try:
            process.communicate(timeout=1.5)
        finally:
            process.kill()
            process.communicate()
