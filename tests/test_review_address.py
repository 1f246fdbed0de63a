"""A page left open finds its server again: the address is kept for a day, for its user alone."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shroomcurate.dataset import Dataset
from shroomcurate.review.address import Address, keep_address, last_address
from tests.review_server import reviewed

TOKEN = "x" * 43


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_it_is_the_same_again_and_only_its_user_can_read_it(tmp_path: Path, home: Path) -> None:
    dataset = Dataset(tmp_path / "a")
    keep_address(dataset, Address(8123, TOKEN))
    assert last_address(dataset) == (8123, TOKEN)
    (file,) = (home / "review").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert last_address(Dataset(tmp_path / "b")).token != TOKEN


def test_a_new_token_is_another_one_each_time(tmp_path: Path) -> None:
    tokens = {last_address(Dataset(tmp_path)).token for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 43


def test_after_a_day_there_is_a_new_token(tmp_path: Path, home: Path) -> None:
    dataset = Dataset(tmp_path)
    keep_address(dataset, Address(8123, TOKEN))
    (file,) = (home / "review").iterdir()
    yesterday = time.time() - 25 * 3600
    os.utime(file, (yesterday, yesterday))
    assert last_address(dataset).port == 0
    assert last_address(dataset).token != TOKEN


@pytest.mark.parametrize(
    "damaged",
    [
        *("", "{", "[]", "null", '{"port": 1}', '{"port": 8123, "token": "short"}'),
        f'{{"port": 0, "token": "{TOKEN}"}}',
        f'{{"port": 8123, "token": "{TOKEN}/../.."}}',
    ],
)
def test_a_damaged_file_is_none(tmp_path: Path, home: Path, damaged: str) -> None:
    dataset = Dataset(tmp_path)
    keep_address(dataset, Address(8123, TOKEN))
    (file,) = (home / "review").iterdir()
    file.write_text(damaged)
    assert last_address(dataset).port == 0


def test_an_address_that_others_may_read_or_have_put_there_is_none(tmp_path: Path, home: Path) -> None:
    dataset = Dataset(tmp_path)
    keep_address(dataset, Address(8123, TOKEN))
    (file,) = (home / "review").iterdir()
    file.chmod(0o644)
    assert last_address(dataset).port == 0
    file.chmod(0o600)
    assert last_address(dataset) == Address(8123, TOKEN)
    if os.geteuid() == 0:
        os.chown(file, 12345, 12345)
        assert last_address(dataset).port == 0


def test_a_killed_server_comes_back_where_it_was_and_a_second_one_does_not_take_its_place(
    photographed: Callable[..., Dataset],
) -> None:
    dataset = photographed(["Amanita_muscaria"], 3)
    with reviewed(dataset.root) as first:
        url, generation = first.url, first.get("api/dataset")["generation"]
        first.kill()
    with reviewed(dataset.root) as again:
        assert again.url == url
        assert again.get("api/dataset")["generation"] == generation
        with reviewed(dataset.root) as second:
            assert second.port != again.port
        with reviewed(dataset.root) as third:
            assert third.port not in (again.port, 0)
    with reviewed(dataset.root) as later:
        assert later.url == url


def test_where_the_port_is_taken_meanwhile_another_one_is(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(["Amanita_muscaria"], 3)
    with reviewed(dataset.root) as first:
        port = first.port
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with reviewed(dataset.root) as again:
            assert again.port != port
            assert again.token != first.token  # whoever has the old port hears it from pages left open
            assert again.get("api/dataset")["count"] == 3


def test_photos_that_came_meanwhile_make_it_another_generation(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(["Amanita_muscaria"], 3)
    with reviewed(dataset.root) as first:
        before = first.get("api/dataset")["generation"]
        first.kill()
    place = next(iter(dataset.photos().values()))
    place.with_name("0.jpg").write_bytes(place.read_bytes())
    with reviewed(dataset.root) as again:
        assert again.get("api/dataset")["generation"] != before
        answer = again.post("api/verdicts", generation=before, photos=[0], verdict="keep", tab="left open")
        assert answer.status_code == 409
