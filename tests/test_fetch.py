"""A snapshot of the dumps comes whole, once, and never mixed with another."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from shroomcurate.catalogue import dump_lock
from shroomcurate.catalogue.fetch import BUNDLE, TABLE_FILES, FetchOptions, FetchReport, fetch_dumps
from shroomcurate.catalogue.parts import gaps, split
from shroomcurate.catalogue.remote import Patience
from shroomcurate.cli import app
from shroomcurate.errors import BadDump, BadOption, Busy, DamagedFile, DiskFull, NetworkDown, NotWritable, SourceMissing
from tests.conftest import small_file_system
from tests.dump_server import AUGUST, JULY, Asked, DumpServer, Served
from tests.dumps import MUSCARIA, Dump
from tests.fault_server import running

HASTE = Patience(connect_timeout=5.0, read_timeout=0.5, attempts=9, backoff=0.01)
PART = 64 << 10


def noise(seed: int, length: int) -> bytes:
    return gzip.compress(random.Random(seed).randbytes(length), 0, mtime=0)


def snapshot(seed: int = 0, put: Any = JULY) -> dict[str, Served]:
    """Four files of some hundred kilobytes that no two snapshots share."""
    lengths = {"taxa": 3_000, "observers": 90_000, "observations": 600_000, "photos": 1_000_000}
    return {f"/{name}.csv.gz": Served(noise(seed + n, n), put) for name, n in lengths.items()}


@pytest.fixture
def server() -> Iterator[DumpServer]:
    with running(DumpServer(snapshot())) as running_server:  # type: ignore[type-var]
        yield running_server


def options(server: DumpServer, folder: Path, **other: Any) -> FetchOptions:
    return FetchOptions(folder, server.url, **{"part_bytes": PART, "patience": HASTE, **other})


def content(folder: Path) -> dict[str, bytes]:
    return {f"/{path.name}": path.read_bytes() for path in folder.iterdir() if path.name.endswith(".gz")}


def served(server: DumpServer) -> dict[str, bytes]:
    return {path: file.content for path, file in server.files.items()}


def left_over(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {*TABLE_FILES, "dump.lock", ".lock"}


# -- what comes ------------------------------------------------------------------------------------------------


def test_the_four_files_come_as_stored_and_the_lock_describes_them(server: DumpServer, tmp_path: Path) -> None:
    report = fetch_dumps(options(server, tmp_path / "dump"))
    assert content(tmp_path / "dump") == served(server)
    assert left_over(tmp_path / "dump") == set()
    text = (tmp_path / "dump" / "dump.lock").read_text()
    lock = json.loads(text)
    assert text == json.dumps(lock, indent=2, sort_keys=True) + "\n"
    assert set(lock) == {"fetched_at", "files", "version"}
    for name in TABLE_FILES:
        file = server.files[f"/{name}"]
        assert lock["files"][name] == {
            "url": f"{server.url}/{name}",
            "size": len(file.content),
            "etag": file.etag,
            "last_modified": "2026-07-27T03:11:22Z",
            "sha256": hashlib.sha256(file.content).hexdigest(),
        }
    assert report.fetched == TABLE_FILES
    assert report.bytes_fetched == sum(len(file.content) for file in server.files.values()) == server.sent


def test_no_byte_comes_twice_and_no_more_connections_are_used_than_allowed(server: DumpServer, tmp_path: Path) -> None:
    fetch_dumps(options(server, tmp_path, connections=3))
    for path, file in server.files.items():
        asked = [(each.first, each.stop) for each in server.gets if each.path == path]
        assert sum(stop - first for first, stop in asked) == len(file.content)
        assert max(stop - first for first, stop in asked) <= PART
    assert 1 <= server.most_active <= 3


def test_a_second_run_asks_for_the_heads_only(server: DumpServer, tmp_path: Path) -> None:
    fetch_dumps(options(server, tmp_path))
    before = content(tmp_path), (tmp_path / "dump.lock").read_bytes()
    server.requests.clear()
    report = fetch_dumps(options(server, tmp_path))
    assert [each.method for each in server.requests] == ["HEAD"] * 4
    assert report.fetched == ()
    assert set(report.files) == set(TABLE_FILES)
    assert (content(tmp_path), (tmp_path / "dump.lock").read_bytes()) == before


def test_the_bundle_comes_alone_and_leaves_the_tables_in_the_lock(server: DumpServer, tmp_path: Path) -> None:
    fetch_dumps(options(server, tmp_path))
    server.files[f"/metadata/{BUNDLE}"] = Served(noise(9, 300_000))
    report = fetch_dumps(options(server, tmp_path, bundle=True))
    assert report.fetched == (BUNDLE,)
    assert (tmp_path / BUNDLE).read_bytes() == server.files[f"/metadata/{BUNDLE}"].content
    assert set(dump_lock.read(tmp_path)) == {*TABLE_FILES, BUNDLE}
    assert report.source == str(tmp_path / BUNDLE)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_goes_wrong_in_between_the_bytes_are_the_same(seed: int, ranges: bool, tmp_path: Path) -> None:
    chance = random.Random(seed)
    faults = ["drop", "close", "503", "500", "stall", "slow-down", "long"]

    def fault(asked: Asked) -> str:
        found = chance.choice(faults) if chance.random() < 0.3 else "ok"
        # A wrong length of a part is made good by asking again; of a whole file it is refused, see test_remote.py.
        return "close" if found == "long" and not (ranges and "range" in asked.headers) else found

    with running(DumpServer(snapshot(seed), fault, ranges=ranges)) as server:  # type: ignore[type-var]
        server.cut = chance.random()
        patience = Patience(5.0, 0.2, 20, 0.01)
        fetch_dumps(options(server, tmp_path, patience=patience, part_bytes=200_000))
        assert content(tmp_path) == served(server)


def test_a_server_without_range_etag_and_date_serves_too(tmp_path: Path) -> None:
    with running(DumpServer(snapshot(), ranges=False, validators=False)) as server:  # type: ignore[type-var]
        for _ in range(2):  # nothing tells whether the files are still the same, so they come again
            assert len(fetch_dumps(options(server, tmp_path)).fetched) == 4
            assert content(tmp_path) == served(server)


# -- going on --------------------------------------------------------------------------------------------------


def recorded(folder: Path) -> dict[str, list[tuple[int, int]]]:
    """What the journals call safe."""
    found = {}
    for journal in folder.glob("*.parts"):
        spans = re.findall(r"^(\d+) (\d+)$", journal.read_text(), re.MULTILINE)
        found["/" + journal.name.removesuffix(".parts")] = [(int(first), int(stop)) for first, stop in spans]
    return found


CHILD = """
import sys
from pathlib import Path
from shroomcurate.catalogue.fetch import FetchOptions, fetch_dumps
fetch_dumps(FetchOptions(Path(sys.argv[2]), sys.argv[1], part_bytes=int(sys.argv[3])))
"""


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_after_kill_9_no_finished_part_is_fetched_again(server: DumpServer, tmp_path: Path, share: float) -> None:
    whole = sum(len(file.content) for file in server.files.values())
    server.hold_after = int(share * whole)
    child = subprocess.Popen([sys.executable, "-c", CHILD, server.url, str(tmp_path), str(PART)])
    wait_until(lambda: whole - server.sent <= whole - server.hold_after + 4 * PART and len(server.held) == 4)
    # Four parts are under way and may be lost; what else was sent must be safe.
    sure = server.sent - 4 * PART
    wait_until(lambda: sum(stop - first for spans in recorded(tmp_path).values() for first, stop in spans) >= sure)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    safe = recorded(tmp_path)
    # A torn line, and one that somebody else's bytes look like.
    with (tmp_path / "photos.csv.gz.parts").open("a") as journal:
        journal.write("0 99999999999 1\nabc 5\n17")

    server.requests.clear()
    server.hold_after = None
    report = fetch_dumps(options(server, tmp_path))
    assert content(tmp_path) == served(server)
    assert left_over(tmp_path) == set()
    for asked in server.gets:
        for first, stop in safe.get(asked.path, []):
            assert asked.stop <= first or stop <= asked.first, f"{asked.path} {asked.first} was safe"
    assert report.bytes_resumed == sum(stop - first for spans in safe.values() for first, stop in spans)
    assert report.bytes_resumed + report.bytes_fetched == whole


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, "it never came to that"
        time.sleep(0.02)


def test_a_line_that_dies_keeps_also_parts_of_parts(server: DumpServer, tmp_path: Path) -> None:
    server.fault = lambda _: "close" if server.sent < 500_000 else "503"
    with pytest.raises(NetworkDown):
        fetch_dumps(options(server, tmp_path, patience=Patience(5.0, 0.5, 3, 0.01), part_bytes=1 << 20))
    assert any(stop % PART for spans in recorded(tmp_path).values() for _, stop in spans)
    before = server.sent
    server.fault = lambda _: "ok"
    fetch_dumps(options(server, tmp_path))
    assert content(tmp_path) == served(server)
    assert server.sent == sum(len(file.content) for file in server.files.values())
    assert before > 400_000


def test_bytes_that_no_line_of_the_journal_names_are_not_believed(server: DumpServer, tmp_path: Path) -> None:
    for path, file in server.files.items():
        (tmp_path / f"{path}.partial".lstrip("/")).write_bytes(b"\0" * len(file.content))
    report = fetch_dumps(options(server, tmp_path))
    assert report.bytes_resumed == 0
    assert content(tmp_path) == served(server)


def test_a_journal_without_its_bytes_is_not_believed(server: DumpServer, tmp_path: Path) -> None:
    file = server.files["/photos.csv.gz"]
    identity = {"size": len(file.content), "etag": file.etag, "last_modified": "Mon, 27 Jul 2026 03:11:22 GMT"}
    (tmp_path / "photos.csv.gz.parts").write_text(f"{json.dumps(identity)}\n0 {len(file.content)}\n")
    assert fetch_dumps(options(server, tmp_path)).bytes_resumed == 0
    assert content(tmp_path) == served(server)


def test_a_kill_before_the_journal_is_made_new_does_not_make_the_old_one_true(
    server: DumpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = server.files["/taxa.csv.gz"]
    identity = {"size": len(file.content), "etag": file.etag, "last_modified": "Mon, 27 Jul 2026 03:11:22 GMT"}
    (tmp_path / "taxa.csv.gz.parts").write_text(f"{json.dumps(identity)}\n0 {len(file.content)}\n")

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("shroomcurate.catalogue.parts.write_bytes", killed)
        with pytest.raises(Killed):
            fetch_dumps(options(server, tmp_path))
    assert fetch_dumps(options(server, tmp_path)).bytes_resumed == 0
    assert content(tmp_path) == served(server)


def test_what_a_kill_after_the_rename_leaves_is_swept_away(server: DumpServer, tmp_path: Path) -> None:
    fetch_dumps(options(server, tmp_path))
    (tmp_path / "photos.csv.gz.parts").write_text("{}\n")
    fetch_dumps(options(server, tmp_path))
    assert left_over(tmp_path) == set()


def test_what_came_of_the_snapshot_before_is_thrown_away(server: DumpServer, tmp_path: Path) -> None:
    server.fault = lambda _: "ok" if server.sent < 500_000 else "404"
    with pytest.raises(SourceMissing):
        fetch_dumps(options(server, tmp_path))
    assert recorded(tmp_path)["/observations.csv.gz"]
    server.fault = lambda _: "ok"
    server.files.update(snapshot(1, AUGUST))
    assert fetch_dumps(options(server, tmp_path)).bytes_resumed == 0
    assert content(tmp_path) == served(server)


# -- one snapshot, never two -----------------------------------------------------------------------------------


def test_a_newer_snapshot_takes_the_place_of_the_old_one_as_a_whole(server: DumpServer, tmp_path: Path) -> None:
    fetch_dumps(options(server, tmp_path))
    july = content(tmp_path)
    server.files.update(snapshot(1, AUGUST))
    seen = []

    def look(done: int, total: int, label: str) -> None:
        seen.append(content(tmp_path) == july)

    assert len(fetch_dumps(options(server, tmp_path), look).fetched) == 4
    assert seen
    assert all(seen)
    assert content(tmp_path) == served(server)


def test_a_snapshot_that_arrives_while_the_old_one_is_fetched_is_noticed(server: DumpServer, tmp_path: Path) -> None:
    def swap(asked: Asked) -> str:
        if asked.path == "/photos.csv.gz" and asked.stop == len(server.files[asked.path].content):
            server.files["/taxa.csv.gz"] = Served(noise(77, 3_000), AUGUST)  # which is here already
        return "ok"

    server.fault = swap
    with pytest.raises(BadDump, match=r"meanwhile: .*taxa\.csv\.gz"):
        fetch_dumps(options(server, tmp_path, connections=1))
    assert content(tmp_path) == {}
    with pytest.raises(
        BadDump, match=r"two snapshots: observations\.csv\.gz of 2026-07-27 and taxa\.csv\.gz of 2026-08-27"
    ):
        fetch_dumps(options(server, tmp_path))
    server.files.update({path: Served(file.content, AUGUST) for path, file in server.files.items()})
    fetch_dumps(options(server, tmp_path))
    assert content(tmp_path) == served(server)


def test_a_file_replaced_in_mid_transfer_is_named(server: DumpServer, tmp_path: Path) -> None:
    def swap(asked: Asked) -> str:
        if asked.path == "/photos.csv.gz" and asked.first:
            server.files[asked.path] = Served(server.files[asked.path].content[::-1], AUGUST)
        return "ok"

    server.fault = swap
    with pytest.raises(BadDump, match=r"photos\.csv\.gz was replaced on the server while it was read"):
        fetch_dumps(options(server, tmp_path))
    assert content(tmp_path) == {}


def test_files_of_two_months_are_refused_unless_forced(server: DumpServer, tmp_path: Path) -> None:
    server.files["/photos.csv.gz"] = server.files["/photos.csv.gz"]._replace(put=AUGUST)
    with pytest.raises(BadDump, match=r"2026-07-27 and photos\.csv\.gz of 2026-08-27") as raised:
        fetch_dumps(options(server, tmp_path))
    assert "--force" in raised.value.hint
    assert server.gets == []
    assert len(fetch_dumps(options(server, tmp_path, force=True)).fetched) == 4


@pytest.mark.parametrize("moment", range(4))
def test_a_kill_while_the_files_change_places_is_told_by_the_lock_and_put_right(
    server: DumpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    fetch_dumps(options(server, tmp_path))
    server.files.update({path: Served(noise(5, 400_000 + n), AUGUST) for n, path in enumerate(server.files)})
    left = [moment]

    class Killed(BaseException):
        pass

    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name in TABLE_FILES:
            if not left[0]:
                raise Killed
            left[0] -= 1
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            fetch_dumps(options(server, tmp_path))
    with pytest.raises(BadDump, match=r"dump\.lock beside it says"):
        dump_lock.refuse_mixed(tmp_path)
    server.requests.clear()
    fetch_dumps(options(server, tmp_path))
    assert server.gets == []
    assert content(tmp_path) == served(server)
    assert left_over(tmp_path) == set()
    dump_lock.refuse_mixed(tmp_path)


# -- what is here ----------------------------------------------------------------------------------------------


def test_a_file_with_another_time_is_hashed_and_kept(server: DumpServer, tmp_path: Path) -> None:
    fetch_dumps(options(server, tmp_path))
    os.utime(tmp_path / "photos.csv.gz")
    labels = set()
    assert fetch_dumps(options(server, tmp_path), lambda *facts: labels.add(facts[2])).fetched == ()
    assert labels == {"Hashing photos"}
    labels.clear()
    fetch_dumps(options(server, tmp_path), lambda *facts: labels.add(facts[2]))
    assert labels == set()


def flip(path: Path, *, keep_time: bool) -> None:
    times = path.stat()
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    if keep_time:
        os.utime(path, (times.st_atime, times.st_mtime))


def test_a_changed_file_is_fetched_again(server: DumpServer, tmp_path: Path) -> None:
    fetch_dumps(options(server, tmp_path))
    flip(tmp_path / "photos.csv.gz", keep_time=False)
    (tmp_path / "taxa.csv.gz").write_bytes(b"short")
    (tmp_path / "observers.csv.gz").unlink()
    report = fetch_dumps(options(server, tmp_path))
    assert set(report.fetched) == {"photos.csv.gz", "taxa.csv.gz", "observers.csv.gz"}
    assert content(tmp_path) == served(server)


def test_verify_finds_what_size_and_time_do_not_tell(server: DumpServer, tmp_path: Path) -> None:
    fetch_dumps(options(server, tmp_path))
    flip(tmp_path / "photos.csv.gz", keep_time=True)
    assert fetch_dumps(options(server, tmp_path)).fetched == ()
    assert fetch_dumps(options(server, tmp_path, verify=True)).fetched == ("photos.csv.gz",)
    assert content(tmp_path) == served(server)


@pytest.mark.parametrize("content", [b"", b"<html>no gzip</html>", noise(3, 5_000)[:-4], noise(3, 500)[:-8] + bytes(8)])
def test_a_file_that_is_no_whole_gzip_is_refused(server: DumpServer, tmp_path: Path, content: bytes) -> None:
    server.files["/observers.csv.gz"] = Served(content)
    with pytest.raises(BadDump, match=r"observers\.csv\.gz cannot be unpacked"):
        fetch_dumps(options(server, tmp_path))
    assert not (tmp_path / "observers.csv.gz").exists()
    assert not (tmp_path / "observers.csv.gz.partial").exists()


def lock_with(**other: object) -> str:
    facts = {"url": "http://127.0.0.1/a", "size": 1, "etag": None, "last_modified": None, "sha256": "0", **other}
    return json.dumps({"files": {"taxa.csv.gz": facts}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"files": {"a": {"b": 1}}}',
        '{"files": 3}',
        "[" * 200_000,
        *(lock_with(size=value) for value in (None, "1", True, -1, 1.5)),
        *(lock_with(last_modified=value) for value in (3, "July", "2026-99-27T03:11:22Z", "2026-07-27")),
        *(lock_with(**{name: [1]}) for name in ("url", "etag", "sha256")),
    ],
    ids=range(18),
)
def test_a_damaged_lock_is_named(server: DumpServer, tmp_path: Path, text: str) -> None:
    (tmp_path / "dump.lock").write_text(text)
    with pytest.raises(DamagedFile, match=r"dump\.lock") as raised:
        fetch_dumps(options(server, tmp_path))
    assert f"rm {tmp_path / 'dump.lock'}" in raised.value.hint
    with pytest.raises(DamagedFile):
        dump_lock.refuse_mixed(tmp_path)


# -- what stands in the way ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"base_url": "s3://bucket"}, {"connections": 0}, {"connections": 99}])
def test_an_option_that_cannot_be_is_named_before_anything_is_asked(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadOption):
        fetch_dumps(FetchOptions(tmp_path / "new", **wrong))
    assert not (tmp_path / "new").exists()


def test_a_password_in_the_address_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(BadOption) as raised:
        fetch_dumps(FetchOptions(tmp_path / "new", "http://ann:secret@127.0.0.1:9"))
    assert "secret" not in raised.value.what + raised.value.hint


def test_a_missing_bundle_is_told_with_the_bundles_address(server: DumpServer, tmp_path: Path) -> None:
    with pytest.raises(SourceMissing) as raised:
        fetch_dumps(options(server, tmp_path, bundle=True))
    assert raised.value.hint.endswith(f"/metadata/{BUNDLE}")


def test_a_folder_that_leads_nowhere_is_named_with_what_to_type(server: DumpServer, tmp_path: Path) -> None:
    with pytest.raises(NotWritable) as raised:
        fetch_dumps(options(server, tmp_path / ("long" * 100)))
    assert "fetch-dumps FOLDER" in raised.value.hint


def test_from_a_server_that_cannot_resume_the_bytes_really_moved_are_told(tmp_path: Path) -> None:
    with running(DumpServer(snapshot(), lambda _: "close", ranges=False)) as server:  # type: ignore[type-var]
        with pytest.raises(NetworkDown):
            fetch_dumps(options(server, tmp_path, patience=replace(HASTE, attempts=2)))
        server.fault = lambda _: "ok"
        report = fetch_dumps(options(server, tmp_path))
        size = sum(len(file.content) for file in server.files.values())
    assert (report.bytes_fetched, report.bytes_resumed, report.cannot_resume) == (size, 0, True)


def test_two_at_once_do_not_mix(server: DumpServer, tmp_path: Path) -> None:
    server.hold_after = 300_000
    first = threading.Thread(target=fetch_dumps, args=(options(server, tmp_path, patience=Patience()),))
    first.start()
    wait_until(lambda: len(server.held) == 4)
    with pytest.raises(Busy, match=r"in use by 'shroomcurate fetch-dumps' \(process \d+\)"):
        fetch_dumps(options(server, tmp_path))
    server.hold_after = None
    first.join()
    assert content(tmp_path) == served(server)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path, 4) as disk:
        yield disk


def test_a_disk_without_room_is_told_before_the_first_byte(server: DumpServer, small_disk: Path) -> None:
    (small_disk / "other").write_bytes(bytes(3_000_000))
    with pytest.raises(DiskFull, match=r"needs 1\.7 MB more, and its disk has 1\.\d MB free\. Nothing was fetched"):
        fetch_dumps(options(server, small_disk))
    assert server.gets == []
    (small_disk / "other").unlink()
    fetch_dumps(options(server, small_disk))
    (small_disk / "other").write_bytes(bytes(1_500_000))
    server.files.update(snapshot(1, AUGUST))
    with pytest.raises(DiskFull) as raised:
        fetch_dumps(options(server, small_disk))
    assert "photos.csv.gz can be deleted" in raised.value.hint


def test_a_disk_that_fills_on_the_way_keeps_what_came(server: DumpServer, small_disk: Path) -> None:
    def fill(asked: Asked) -> str:
        if server.sent > 700_000 and not (small_disk / "other").exists():
            free = shutil.disk_usage(small_disk).free
            (small_disk / "other").write_bytes(bytes(max(0, free - 100_000)))
        return "ok"

    server.fault = fill
    with pytest.raises(DiskFull, match="disk is full while writing"):
        fetch_dumps(options(server, small_disk))
    safe = sum(stop - first for spans in recorded(small_disk).values() for first, stop in spans)
    assert safe > 300_000
    (small_disk / "other").unlink()
    server.fault = lambda _: "ok"
    assert fetch_dumps(options(server, small_disk)).bytes_resumed >= safe
    assert content(small_disk) == served(server)


def test_a_folder_that_may_not_be_written_to_is_named(server: DumpServer, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(NotWritable, match="Read-only file system") as raised:
        fetch_dumps(options(server, small_disk))
    assert "fetch-dumps FOLDER" in raised.value.hint
    assert server.requests == []


def test_a_file_where_the_folder_should_be_is_named(server: DumpServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable):
        fetch_dumps(options(server, tmp_path / "file"))


# -- the command -----------------------------------------------------------------------------------------------


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_interrupted_it_ends_within_two_seconds_though_the_server_is_silent(server: DumpServer, tmp_path: Path) -> None:
    server.hold_after = 300_000
    command = [sys.executable, "-m", "shroomcurate", "fetch-dumps", str(tmp_path), "--base-url", server.url]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(server.held) == 4 or (len(server.held) > 0 and server.sent >= 200_000))
    started = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert time.monotonic() - started < 2
    assert child.returncode == 130
    assert "type the same command again" in said
    assert "Traceback" not in said
    server.hold_after = None
    assert run("fetch-dumps", tmp_path, "--base-url", server.url).exit_code == 0
    assert content(tmp_path) == served(server)


def test_the_command_says_what_came_and_then_that_all_is_current(server: DumpServer, tmp_path: Path) -> None:
    first = run("fetch-dumps", tmp_path, "--base-url", server.url)
    assert first.exit_code == 0, first.output
    assert "1.7 MB fetched; every file unpacks to its end." in first.output
    assert "shroomcurate load-csvs" in first.output
    second = run("fetch-dumps", tmp_path, "--base-url", server.url)
    assert "All of it is current; nothing was fetched." in second.output
    facts = json.loads(run("fetch-dumps", tmp_path, "--base-url", server.url, "--json").stdout)
    assert facts["fetched"] == []
    assert set(facts["files"]) == set(TABLE_FILES)


def test_without_a_terminal_lines_say_how_much_came_and_how_long_it_takes(
    server: DumpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shroomcurate.terminal._LINE_EVERY", 0.0)
    said = run("fetch-dumps", tmp_path, "--base-url", server.url).stderr
    assert re.search(r"^Fetching: \d+ %, [0-9.]+ [kM]?B of 1\.7 MB, [0-9.]+ .?B/s, 0:00:\d\d left$", said, re.MULTILINE)
    assert re.search(r"^Checking: 100 %, 1\.7 MB of 1\.7 MB", said, re.MULTILINE)


def test_a_wrong_address_is_told_with_its_exit_code(server: DumpServer, tmp_path: Path) -> None:
    result = run("fetch-dumps", tmp_path, "--base-url", f"{server.url}/elsewhere")
    assert result.exit_code == SourceMissing.exit_code
    assert "404" in result.stderr


def test_a_fetched_dump_loads(tmp_path: Path, database_url: str) -> None:
    dump = Dump()
    dump.photographed(MUSCARIA, 6, first=1)
    dump.write(tmp_path / "bucket")
    load_what_was_fetched(tmp_path / "bucket", tmp_path / "dump", database_url, photos=6)


@pytest.mark.shared
def test_a_real_small_dump_is_fetched_and_loads(shared: Path, tmp_path: Path, database_url: str) -> None:
    load_what_was_fetched(shared / "inat-mini" / "metadata", tmp_path / "dump", database_url, photos=2564)


def load_what_was_fetched(bucket: Path, folder: Path, database_url: str, photos: int) -> FetchReport:
    files = {f"/{path.name}": Served(path.read_bytes()) for path in bucket.glob("*.csv.gz")}
    with running(DumpServer(files)) as server:  # type: ignore[type-var]
        report = fetch_dumps(options(server, folder))
    result = run("load-csvs", report.source, "--database-url", database_url, "--json")
    assert json.loads(result.stdout)["tables"]["photos"]["kept"] == photos
    return report


# -- spans -----------------------------------------------------------------------------------------------------

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda ends: (min(ends), max(ends))), max_size=8)


@given(spans=SPANS, size=st.integers(0, 50), part=st.integers(1, 20))
def test_gaps_are_exactly_the_bytes_that_no_span_covers_and_split_keeps_them(
    spans: list[tuple[int, int]], size: int, part: int
) -> None:
    covered = {byte for first, stop in spans for byte in range(first, stop)}
    found = gaps(spans, size)
    assert [byte for first, stop in found for byte in range(first, stop)] == sorted(set(range(size)) - covered)
    pieces = list(split(found, part))
    assert [byte for piece in pieces for byte in range(*piece)] == sorted(set(range(size)) - covered)
    assert all(0 < stop - first <= part for first, stop in pieces)
