"""How far the server should be with what it does not tell of."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from shroomcurate.catalogue import pace
from shroomcurate.catalogue.pace import paced

MANY = 1_000_000


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path))
    return tmp_path


class Told(list[tuple[int, int]]):
    """What a bar was told: done and total."""

    def __call__(self, done: int, total: int, label: str) -> None:
        assert label == "select photos"
        self.append((done, total))


def work(seconds: float, rows: int = MANY, database_url: str | None = None) -> Told:
    told = Told()
    with paced(told, "select photos", database_url, rows):
        time.sleep(seconds)
    return told


def learned(home: Path) -> dict[str, float]:
    return json.loads((home / pace.FILE).read_text())


def test_it_moves_ends_full_and_never_goes_back(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pace._AT_FIRST, "select photos", 3.0)
    told = work(1.6)
    assert {total for _, total in told} == {3}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert (1, 3) in told
    assert told[-1] == (3, 3)


def test_behind_the_expected_time_nobody_claims_to_know(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pace._AT_FIRST, "select photos", 0.1)
    told = work(1.6)
    assert (1, 0) in told
    assert told[-1] == (1, 1)


def test_the_next_expects_what_the_last_took_in_proportion_to_the_rows(own_home: Path) -> None:
    work(0.6)
    assert learned(own_home)["select photos, embedded"] == pytest.approx(0.6, rel=0.5)
    assert work(0.3, rows=10 * MANY)[0][1] == pytest.approx(6, abs=3)


def test_each_database_has_its_own_and_no_password_is_written(own_home: Path) -> None:
    work(0.3)
    work(0.3, database_url="postgresql://ada:secret@example.org/lab")
    assert len(learned(own_home)) == 2
    assert "secret" not in (own_home / pace.FILE).read_text()


def test_few_rows_and_broken_off_work_teach_nothing(own_home: Path) -> None:
    work(0.3, rows=10)
    with pytest.raises(KeyboardInterrupt), paced(Told(), "select photos", None, MANY):
        raise KeyboardInterrupt
    assert not (own_home / pace.FILE).exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff{", b'{"select photos, embedded": "fast"}', b'{"a": -1}'])
def test_a_damaged_file_is_as_good_as_none(own_home: Path, content: bytes) -> None:
    (own_home / pace.FILE).write_bytes(content)
    assert work(0.3)[-1] == (2, 2)
    assert learned(own_home)["select photos, embedded"] > 0
