"""Reading ahead of the server: in order, within bounds, and left at any moment."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from shroomcurate.catalogue import sieve
from shroomcurate.catalogue.sieve import Sieve, running_ahead
from shroomcurate.catalogue.sources import NEEDS, find_dump
from shroomcurate.errors import BadDump
from tests.dumps import HEADERS, MUSCARIA, Dump


def dump(folder: Path, photos: int = 3) -> Path:
    made = Dump()
    for number in range(photos):
        made.observation(number, MUSCARIA)
        made.photo(number, number)
    made.write(folder)
    return folder


def ended(name: str) -> bool:
    give_up = time.monotonic() + 10
    while any(thread.name.startswith(name) for thread in threading.enumerate()):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


def test_tables_come_in_order_each_with_an_end(tmp_path: Path) -> None:
    sieve = Sieve(["Basidiomycota"], "research")
    with running_ahead(sieve, find_dump([dump(tmp_path)])) as parts:
        came = [(table.table, sifted.kept.rows if sifted else None) for table, sifted, _ in parts]
    assert [table for table, rows in came if rows is None] == list(NEEDS)
    assert [rows for table, rows in came if table == "photos"] == [3, None]
    assert not len(sieve.repeated)
    assert ended("sift")


def test_reading_begins_at_once_and_stops_where_too_much_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = dump(tmp_path, photos=2000)
    monkeypatch.setattr("shroomcurate.catalogue.dumps.BLOCK_BYTES", 1000)
    monkeypatch.setattr(sieve, "_WAITING", 20_000)
    files = find_dump([source])
    with running_ahead(Sieve(None, "any"), files) as parts:
        give_up = time.monotonic() + 10
        while not files.tables["observations"].taken:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        time.sleep(0.3)
        assert not files.tables["photos"].taken
        assert sum(sifted.kept.rows for table, sifted, _ in parts if sifted and table.table == "photos") == 2000


def test_an_error_comes_where_its_rows_would_have(tmp_path: Path) -> None:
    source = dump(tmp_path)
    (source / "photos.csv.gz").write_bytes(b"no gzip")
    came = []

    def take() -> None:
        with running_ahead(Sieve(None, "any"), find_dump([source])) as parts:
            came.extend(table.table for table, sifted, _ in parts if sifted is None)

    with pytest.raises(BadDump, match="photos"):
        take()
    assert came == ["taxa", "observations"]
    assert ended("sift")


def test_who_leaves_early_waits_for_nothing_and_leaves_no_thread(tmp_path: Path) -> None:
    source = dump(tmp_path)
    (source / "photos.csv.gz").unlink()
    os.mkfifo(source / "photos.csv")
    writer = os.open(source / "photos.csv", os.O_RDWR)  # so that no end comes
    os.write(writer, "\t".join(HEADERS["photos"]).encode() + b"\n")
    files = find_dump([source / f"{table}.csv{'' if table == 'photos' else '.gz'}" for table in NEEDS])
    with running_ahead(Sieve(None, "any"), files) as parts:
        for table, sifted, _ in parts:
            if table.table == "observations" and sifted is None:
                break
        give_up = time.monotonic() + 10
        while not files.tables["photos"].taken:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        started = time.monotonic()
    assert time.monotonic() - started < 0.5
    os.close(writer)  # the end of the file
    assert ended("sift")
    assert ended("read_")
