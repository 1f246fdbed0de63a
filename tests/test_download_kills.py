"""The command itself, killed, interrupted and out of room."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shroomcurate.dataset import Dataset, Receipt, make_table, read_table, write_table
from shroomcurate.download import DownloadOptions, download
from shroomcurate.download.journal import JOURNAL
from shroomcurate.errors import DiskFull
from shroomcurate.select import SCHEMA as SELECTION
from tests.conftest import jpeg, selection_rows, small_file_system
from tests.fault_server import THEN_OK, FaultServer, running

Selected = Callable[..., Dataset]
CLASSES = ["Amanita_muscaria", "Boletus_edulis", "Cantharellus_cibarius"]  # photos 1001.., 2001.. and 3001..
KILLS = 8


def command(dataset: Dataset, server: FaultServer, *words: str) -> subprocess.Popen[str]:
    """Start ``shroomcurate download``."""
    call = [sys.executable, "-m", "shroomcurate", "download", "--dataset", str(dataset.root), "--base-url", server.url]
    pipe = subprocess.PIPE
    return subprocess.Popen([*call, *words], stdout=pipe, stderr=pipe, text=True)


def copy_of(dataset: Dataset, name: str) -> Dataset:
    """Another dataset with the same selection."""
    other = Dataset(dataset.root.with_name(name))
    other.root.mkdir()
    other.path("selection.parquet").write_bytes(dataset.path("selection.parquet").read_bytes())
    return other


def images(dataset: Dataset) -> dict[str, bytes]:
    files = [file for file in dataset.images.rglob("*") if file.is_file()]
    return {str(file.relative_to(dataset.root)): file.read_bytes() for file in files}


def lasting(dataset: Dataset) -> list[dict[str, Any]]:
    """Of each row what must not depend on the run: not how often was asked, nor when, nor how the last try failed."""
    passing = {"attempts", "fetched_at", "error"}
    found = read_table(dataset.path("downloads.parquet")).to_pylist()
    return [{key: value for key, value in row.items() if key not in passing} for row in found]


def misbehaviour(chance: random.Random, ids: list[int]) -> dict[int, str]:
    """Photo id -> fault: holes of every kind, and more that pass."""
    holes = ["404", "403", "410", "html", "empty", "truncated", "418", "to-ftp", "webp", "chunked-garbage"]
    passing = [name + THEN_OK for name in ("500", "503", "429", "reset", "closed", "short", "truncated", "garbage")]
    faults = holes + passing + ["png", "gif", "on-host", "chunked"]
    return dict(zip(chance.sample(ids, len(faults)), faults, strict=True))


def test_killed_eight_times_it_ends_with_the_same_bytes(selected: Selected) -> None:
    chance = random.Random(20260701)
    dataset = selected(CLASSES, wanted=50, reserve=10)
    faults = misbehaviour(chance, [row["photo_id"] for row in selection_rows(CLASSES, 50)])
    with running(FaultServer(faults, delay=0.01)) as server:
        smooth = copy_of(dataset, "smooth")
        download(smooth, DownloadOptions(server.url, backoff=0.01))
        server.seen.clear()
        held = []
        for kill in range(KILLS):
            enough = len(server.requests) + chance.randint(0, 10)
            process = command(dataset, server, "--concurrency", "6")
            while len(server.requests) < enough and process.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.random() * 0.04)
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL, f"it ended by itself before kill {kill + 1}"
            held.append(sum(file.suffix != ".partial" for file in dataset.images.glob("*/*")))
        assert held == sorted(held), "finished work is repeated"
        assert 0 < held[-1] < 150, "the kills came too early or too late to show anything"
        process = command(dataset, server)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert images(dataset) == images(smooth)
    assert lasting(dataset) == lasting(smooth)
    assert not list(dataset.root.rglob("*.partial"))
    assert not dataset.path(JOURNAL).exists()
    assert {file.name for file in dataset.root.iterdir()} == {file.name for file in smooth.root.iterdir()}


@pytest.mark.parametrize("fault", ["silent", "drip", "503"])
def test_an_interrupted_command_ends_within_two_seconds_and_says_how_to_go_on(selected: Selected, fault: str) -> None:
    dataset = selected(CLASSES[:1], wanted=12)
    faults = {1001: "ok"} | dict.fromkeys(range(1002, 1013), fault)
    with running(FaultServer(faults)) as server:
        process = command(dataset, server)
        first = dataset.images / CLASSES[0] / "1001.jpg"
        while (len(server.requests) < 6 or not first.exists()) and process.poll() is None:
            time.sleep(0.005)
        pressed = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - pressed < 2
        assert process.returncode == 130
        assert "type the same command again" in errors
        assert "Traceback" not in errors
        assert not list(dataset.root.rglob("*.partial"))
        server.faults.clear()
        server.requests.clear()
        assert download(dataset, DownloadOptions(server.url)).statuses == {"ok": 12}
        assert "/photos/1001/medium.jpg" not in server.requests, "what was finished is kept"


# -- a full disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path, 2) as disk:
        yield disk


def fill(disk: Path, room: int) -> Path:
    """Leave ``room`` kB; return the file to delete when there shall be more."""
    filler = disk / "filler"
    stat = os.statvfs(disk)
    filler.write_bytes(bytes(max(0, stat.f_bavail * stat.f_frsize - room * 1000)))
    return filler


@pytest.mark.parametrize("room", [0, 9, 40, 300])
def test_a_disk_that_fills_on_the_way_keeps_what_is_whole(selected: Selected, small_disk: Path, room: int) -> None:
    """``room`` is in kB: from nothing, over the journal's first lines, to most of the photos."""
    smooth = selected(CLASSES[:2], wanted=20, reserve=4)
    dataset = Dataset(small_disk / "dataset")
    rows = selection_rows(CLASSES[:2], 20, 4)
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, rows), Receipt("query", {"per_class": 20}))
    large = {row["photo_id"]: jpeg(int(str(row["photo_id"])), size=(400, 300), quality=90) for row in rows}
    faults = {1002: "404", 2003: "html", 1004: "500" + THEN_OK, 2004: "png"}
    with running(FaultServer(faults, content=lambda photo_id, _: large[photo_id])) as server:
        waits = DownloadOptions(server.url, backoff=0.01)
        download(smooth, waits)
        filler = fill(small_disk, room)
        with pytest.raises(DiskFull, match="The disk is full while writing") as raised:
            download(dataset, waits)
        assert "type the same command again" in raised.value.hint
        whole = images(dataset)
        assert whole == {path: content for path, content in images(smooth).items() if path in whole}
        assert len(whole) < len(images(smooth))
        assert whole or room < 200, "the disk was full too early to show anything"
        assert not list(dataset.root.rglob("*.partial"))
        filler.unlink()
        server.requests.clear()
        download(dataset, waits)
        asked = {int(path.split("/")[-2]) for path in server.requests}
    assert asked.isdisjoint(int(Path(path).stem) for path in whole), "what was whole is not asked for again"
    assert images(dataset) == images(smooth)
    assert lasting(dataset) == lasting(smooth)
    assert not dataset.path(JOURNAL).exists()


def test_the_command_names_a_full_disk(selected: Selected, small_disk: Path) -> None:
    dataset = Dataset(small_disk / "dataset")
    rows = selection_rows(CLASSES[:1], 80)
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, rows), Receipt("query", {}))
    fill(small_disk, 60)
    with running(FaultServer()) as server:
        process = command(dataset, server)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == DiskFull.exit_code
    assert "Disk full: " in errors
    assert "Traceback" not in errors
