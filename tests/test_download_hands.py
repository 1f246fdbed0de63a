"""The processes that judge and write photos: started badly, killed, stopped, and in a folder that is not theirs."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shroomcurate.dataset import Dataset, read_table
from shroomcurate.download import DownloadOptions, download, hand
from shroomcurate.download.hand import Hand, Job
from shroomcurate.download.manifest import Photo, Record
from tests.fault_server import FaultServer, photo_bytes, running

Selected = Callable[..., Dataset]
A = "Amanita_muscaria"


def statuses(dataset: Dataset) -> list[str]:
    return [row["status"] for row in read_table(dataset.path("downloads.parquet")).to_pylist()]


def command(dataset: Dataset, server: FaultServer) -> list[str]:
    words = ["shroomcurate", "download", "--dataset", str(dataset.root), "--base-url", server.url]
    return [sys.executable, "-P", "-m", *words]  # -P: as the installed command, which does not look where one stands


def test_what_lies_where_the_command_is_typed_is_none_of_its_modules(selected: Selected, tmp_path: Path) -> None:
    dataset = selected([A], wanted=3)
    for name in ("pickle.py", "shroomcurate.py"):
        (tmp_path / name).write_text("raise SystemExit('not the one that was meant')")
    with running(FaultServer()) as server:
        done = subprocess.run(command(dataset, server), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert statuses(dataset) == ["ok"] * 3, done.stderr


def test_a_folder_that_cannot_be_written_to_is_no_photos_fault(selected: Selected) -> None:
    dataset = selected([A], wanted=3)
    dataset.images.mkdir()
    (dataset.images / A).write_text("no folder")
    with running(FaultServer()) as server:
        with pytest.raises(FileExistsError, match=A):
            download(dataset, DownloadOptions(server.url))
        (dataset.images / A).unlink()
        download(dataset, DownloadOptions(server.url))
    assert statuses(dataset) == ["ok"] * 3


def test_a_process_that_cannot_be_started_ends_the_run(selected: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand, "COMMAND", ("/no/such/python",))
    with running(FaultServer()) as server, pytest.raises(FileNotFoundError, match="/no/such/python"):
        download(selected([A], wanted=3), DownloadOptions(server.url))


def settled(root: Path, job: Job, before: Callable[[Hand], object] = lambda _: None) -> Record:
    """How a photo ends that a process of its own judges."""

    async def settle() -> Record:
        ours = Hand(root, "medium")
        try:
            await ours.start()
            before(ours)
            [end] = await ours.settle([job])
        finally:
            ours.dismiss()
        assert isinstance(end, Record)
        return end

    return asyncio.run(settle())


def test_a_photo_is_not_to_blame_for_a_process_that_was_killed_before_it(tmp_path: Path) -> None:
    def kill(ours: Hand) -> None:
        ours.process.kill()
        ours.process.wait()

    photo = Photo(1001, A, "wanted", "jpg")
    job = Job(photo, photo_bytes(1001), Record(1001, "ok", 200, attempts=1), None)
    assert settled(tmp_path, job, kill).status == "ok"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_batch_arrives_whole_or_not_at_all(part: int) -> None:
    photos = [Photo(photo_id, A, "wanted", "jpg") for photo_id in (1001, 1002, 1003)]
    contents = (photo_bytes(1001), None, b"")
    jobs = [
        Job(each, content, Record(each.photo_id, "ok"), None) for each, content in zip(photos, contents, strict=True)
    ]
    sent = b"".join(hand.packed(jobs))
    assert hand.unpacked(io.BytesIO(sent)) == jobs
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        hand.unpacked(io.BytesIO(sent[: (len(sent) - 1, len(sent) // 2, 10)[part]]))


def test_an_interrupt_does_not_wait_for_a_process_that_hangs(selected: Selected) -> None:
    dataset = selected([A], wanted=80)
    with running(FaultServer(delay=0.02)) as server:
        # The same command, but for how long it lets them finish what they have.
        code = (
            "from shroomcurate.cli import main; from shroomcurate.download import store; store._LAST_WAIT = 1; main()"
        )
        _, _, _, _, *words = command(dataset, server)
        process = subprocess.Popen([sys.executable, "-P", "-c", code, *words], start_new_session=True)
        while len(server.requests) < 20:
            time.sleep(0.01)
        children = Path(f"/proc/{process.pid}/task").glob("*/children")
        hands = [int(child) for file in children for child in file.read_text().split()]
        assert hands
        for each in hands:
            os.kill(each, signal.SIGSTOP)
        try:
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
        finally:
            for each in hands:
                with contextlib.suppress(ProcessLookupError):  # as it should be: they were ended
                    os.kill(each, signal.SIGCONT)
        time.sleep(0.5)
        download(dataset, DownloadOptions(server.url))
    assert statuses(dataset) == ["ok"] * 80


def test_a_file_that_vanished_meanwhile_is_no_photo_and_no_failure(tmp_path: Path) -> None:
    job = Job(Photo(1001, A, "wanted", "jpg"), None, Record(1001, "ok"), f"images/{A}/1001.jpg")
    end = settled(tmp_path, job)
    assert (end.status, end.error) == ("corrupt", "empty file")
