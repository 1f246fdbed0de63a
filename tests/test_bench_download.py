"""The benchmark's photos, lists and servers: what one server gives and the other does not is no comparison."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.download import FIRST, Photos, expected_bytes, write_lists
from benchmarks.photo_server import DISTINCT, NAMES, make_photos, nginx_program, serving
from shroomcurate.dataset import Dataset
from shroomcurate.download import DownloadOptions, download


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    make_photos(folder / "photos", noise=11.0)
    return folder


@pytest.fixture(params=["small", "nginx"])
def url(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    program = nginx_program() if request.param == "nginx" else None
    if request.param == "nginx" and not program:
        pytest.skip("nginx is not installed")
    with serving(folder, program) as url:
        yield url


def test_photos_have_the_size_of_those_in_the_bucket(folder: Path) -> None:
    files = sorted((folder / "photos").iterdir())
    assert len(files) == NAMES
    assert len({file.read_bytes() for file in files}) == DISTINCT
    with Image.open(files[0]) as image:
        assert (image.format, image.size) == ("JPEG", (500, 375))
    assert sum(file.stat().st_size for file in files) / NAMES == pytest.approx(40_000, rel=0.05)


def test_the_end_of_an_id_chooses_the_photo_and_nothing_else_is_there(url: str, folder: Path) -> None:
    for photo_id in (FIRST, FIRST + 1234):
        with urllib.request.urlopen(f"{url}/photos/{photo_id}/medium.jpg") as response:
            assert response.read() == (folder / f"photos/{photo_id % NAMES:03}.jpg").read_bytes()
    for other in ("/", "/photos/1/medium.jpg", f"/photos/{FIRST}/large.jpg", "/nginx.conf"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url + other)


def test_a_connection_is_kept_also_when_a_request_comes_in_pieces(url: str, folder: Path) -> None:
    host, port = url.removeprefix("http://").split(":")
    photo = (folder / "photos/007.jpg").read_bytes()
    with socket.create_connection((host, int(port)), 5) as connection, connection.makefile("rb") as answers:
        for pieces in ((b"GET /photos/10000007/medium.jpg HT", b"TP/1.1\r\nHost: x\r\n\r\n"),) * 3:
            for piece in pieces:
                connection.sendall(piece)
            while answers.readline() != b"\r\n":
                pass
            assert answers.read(len(photo)) == photo


def test_download_brings_every_photo_of_the_list(url: str, folder: Path, tmp_path: Path) -> None:
    photos = Photos(tmp_path, 230)
    write_lists(photos, url)
    dataset = Dataset(tmp_path / "dataset")
    dataset.root.mkdir()
    (dataset.root / "selection.parquet").hardlink_to(photos.selection)
    summary = download(dataset, DownloadOptions(base_url=url))
    assert (summary.classes, summary.fetched, summary.statuses["ok"]) == (3, 230, 230)
    assert summary.bytes == expected_bytes(folder / "photos", photos)
    assert len(photos.urls.read_text().split()) == 230
