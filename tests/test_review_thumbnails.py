"""Thumbnails: made once, upright and small; whatever becomes of their file, pages have their pictures."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shroomcurate.photos import NotAPhoto, decode_photo
from shroomcurate.review import thumbnails
from shroomcurate.review.thumbnails import FILE, PIXELS, Thumbnails
from tests.conftest import jpeg, small_file_system
from tests.review_server import reviewed
from tests.test_review_server import tree

NAME = "images/A/1.jpg"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "1.jpg"
    file.write_bytes(jpeg(1, size=(800, 600)))
    return file


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each file that was decoded."""
    sizes: list[int] = []

    def counted(content: bytes, **options: Any) -> Any:
        sizes.append(len(content))
        return decode_photo(content, **options)

    monkeypatch.setattr(thumbnails, "decode_photo", counted)
    return sizes


def size(picture: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        assert image.format == "JPEG"
        return image.size


# -- what they are -----------------------------------------------------------------------------------------------


def test_a_thumbnail_is_made_once_also_for_the_next_server(tmp_path: Path, photo: Path, decoded: list[int]) -> None:
    file = tmp_path / FILE
    one = Thumbnails(file)
    first = one.get(NAME, photo)
    assert size(first) == (PIXELS, PIXELS * 3 // 4)
    assert one.get(NAME, photo) == first
    one.close()
    other = Thumbnails(file)
    assert other.get(NAME, photo) == first
    assert len(decoded) == 1
    other.get("images/A/2.jpg", photo)
    assert len(decoded) == 2


def test_a_photo_that_was_moved_by_cleaning_keeps_its_thumbnail(
    tmp_path: Path, photo: Path, decoded: list[int]
) -> None:
    store = Thumbnails(tmp_path / FILE)
    store.get(NAME, photo)
    store.get(NAME, photo.rename(tmp_path / "moved.jpg"))
    assert len(decoded) == 1


@pytest.mark.parametrize("same", ["size", "time"])
def test_a_photo_that_changed_gets_another_thumbnail(
    tmp_path: Path, photo: Path, decoded: list[int], same: str
) -> None:
    store = Thumbnails(tmp_path / FILE)
    before, facts = store.get(NAME, photo), photo.stat()
    other = jpeg(2, hue=120, size=(800, 600))
    photo.write_bytes(other.ljust(facts.st_size, b"\0")[: facts.st_size] if same == "size" else other + b"\0" * 9999)
    os.utime(photo, ns=(0, facts.st_mtime_ns + (1 if same == "size" else 0)))
    try:
        assert store.get(NAME, photo) != before
    except NotAPhoto:  # cut short to the size of the other
        assert same == "size"
    assert len(decoded) == 2


def test_small_photos_are_not_enlarged_and_narrow_ones_stay_a_pixel_wide(tmp_path: Path) -> None:
    store = Thumbnails(tmp_path / FILE)
    for wanted, expected in (((40, 30), (40, 30)), ((3000, 2), (PIXELS, 1)), ((1, 1), (1, 1))):
        file = tmp_path / f"{wanted}.png"
        Image.new("RGB", wanted, "green").save(file)
        assert size(store.get(str(wanted), file)) == expected


def test_a_photo_that_the_camera_held_upright_is_shown_upright_and_without_its_metadata(tmp_path: Path) -> None:
    image = Image.new("RGB", (600, 300), "red")
    image.paste("blue", (0, 0, 300, 300))  # left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: left becomes top
    exif[0x010F] = "Somebody's camera"
    image.save(tmp_path / "1.jpg", exif=exif, quality=95)
    made = Thumbnails(tmp_path / FILE).get(NAME, tmp_path / "1.jpg")
    assert size(made) == (PIXELS // 2, PIXELS)
    with Image.open(io.BytesIO(made)) as shown:
        assert not shown.getexif()
        top, bottom = (shown.convert("RGB").getpixel((56, y)) for y in (20, 200))
    assert b"Somebody" not in made
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[2] > bottom[2] + 150
    assert bottom[0] > top[0] + 150


def test_transparent_moving_and_grey_photos_have_thumbnails(tmp_path: Path) -> None:
    frames = [Image.new("P", (300, 300), colour) for colour in (1, 2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    Image.new("RGBA", (300, 300), (0, 0, 0, 0)).save(tmp_path / "b.png")
    Image.new("I;16", (300, 300), 40_000).save(tmp_path / "c.png")
    Image.new("CMYK", (300, 300)).save(tmp_path / "d.jpg")
    store = Thumbnails(tmp_path / FILE)
    for name in ("a.gif", "b.png", "c.png", "d.jpg"):
        assert size(store.get(name, tmp_path / name)) == (PIXELS, PIXELS)


@pytest.mark.parametrize("side", [12_000, 60_000, 2**31 - 1])
def test_a_photo_whose_header_claims_too_many_pixels_is_refused_unread(tmp_path: Path, side: int) -> None:
    header = b"\0\0\0\rIHDR" + side.to_bytes(4) * 2 + b"\x08\x02\0\0\0"
    bomb = b"\x89PNG\r\n\x1a\n" + header + zlib.crc32(header[4:]).to_bytes(4) + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(NotAPhoto):
        Thumbnails(tmp_path / FILE).get(NAME, tmp_path / "bomb.png")


def test_a_large_photo_has_a_small_thumbnail(tmp_path: Path) -> None:
    Image.effect_noise((6000, 4000), 60).convert("RGB").save(tmp_path / "large.jpg")
    made = Thumbnails(tmp_path / FILE).get(NAME, tmp_path / "large.jpg")
    assert size(made) in ((PIXELS, 149), (PIXELS, 150))
    assert len(made) < 40_000


def test_many_threads_have_their_thumbnails(tmp_path: Path) -> None:
    files = []
    for number in range(12):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(jpeg(number))
    store = Thumbnails(tmp_path / FILE)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda file: store.get(file.name, file), files * 5))
    assert made[:12] * 5 == made
    store.close()
    assert size(store.get("0.jpg", files[0]))  # closed, as while the server ends


# -- what becomes of their file ----------------------------------------------------------------------------------


def _garbage(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(os.urandom(50_000))


def _folder(file: Path) -> None:
    file.mkdir(parents=True)


def _folders_place_taken(file: Path) -> None:
    file.parent.write_text("a file")


def _other_tables(file: Path) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as store:
        store.execute("CREATE TABLE thumbnail (something TEXT)")


def _cut_short(file: Path) -> None:
    store = Thumbnails(file)
    (file.parent / "1.jpg").write_bytes(jpeg(5, size=(900, 900)))
    for number in range(30):
        store.get(str(number), file.parent / "1.jpg")
    store.close()
    with file.open("r+b") as handle:
        handle.truncate(file.stat().st_size // 2 // 4096 * 4096)
        handle.seek(4096)
        handle.write(os.urandom(8192))


@pytest.mark.parametrize("spoil", [_garbage, _folder, _folders_place_taken, _other_tables, _cut_short])
def test_a_damaged_file_of_thumbnails_costs_time_and_no_picture(
    tmp_path: Path, photo: Path, spoil: Callable[[Path], None]
) -> None:
    file = tmp_path / FILE
    spoil(file)
    store = Thumbnails(file)
    for name in [NAME, *map(str, range(40))]:
        assert size(store.get(name, photo)) == (PIXELS, PIXELS * 3 // 4)
    store.close()


def test_on_a_full_disk_pages_have_their_thumbnails(tmp_path: Path, photo: Path) -> None:
    with small_file_system(tmp_path, 1) as disk:
        store = Thumbnails(disk / FILE)
        for number in range(200):
            assert store.get(str(number), photo)
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(bytes(2_000_000))
        assert store.get(NAME, photo)
        store.close()
        again = Thumbnails(disk / FILE)
        assert again.get(NAME, photo)
        again.close()


def test_in_a_folder_that_cannot_be_written_pages_have_their_thumbnails(tmp_path: Path, photo: Path) -> None:
    for prepared in (False, True):
        (tmp_path / str(prepared)).mkdir()
        with small_file_system(tmp_path / str(prepared), 1) as disk:
            if prepared:
                Thumbnails(disk / FILE).close()
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            store = Thumbnails(disk / FILE)
            assert store.get(NAME, photo) == store.get(NAME, photo)
            store.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_that_another_program_has_locked_holds_no_page_up(tmp_path: Path, photo: Path, when: str) -> None:
    file = tmp_path / FILE
    Thumbnails(file).close()
    store = Thumbnails(file) if when == "after" else None
    holder = sqlite3.connect(file, isolation_level=None)
    if when == "before":
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")  # not even to be read
    holder.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    store = store or Thumbnails(file)
    for number in range(10):
        assert store.get(str(number), photo)
    assert time.monotonic() - began < 5
    holder.close()
    store.close()


def test_two_servers_fill_one_file(tmp_path: Path, decoded: list[int]) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(30)]
    for number, file in enumerate(files):
        file.write_bytes(jpeg(number))
    stores = [Thumbnails(tmp_path / FILE) for _ in range(2)]

    def fill(store: Thumbnails) -> None:
        for file in files:
            store.get(file.name, file)

    threads = [threading.Thread(target=fill, args=(store,)) for store in stores]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    made = len(decoded)
    assert made <= 60
    for store in stores:
        fill(store)
        store.close()
    assert len(decoded) - made <= 10  # those of a moment when the other one was writing


# -- over the wire -----------------------------------------------------------------------------------------------


def test_a_damaged_photo_has_no_thumbnail_and_says_so_and_the_others_have_theirs(tmp_path: Path) -> None:
    folder = tree(tmp_path / "dataset")
    photos = folder / "images" / "Amanita_muscaria"
    (photos / "0.jpg").write_bytes(b"")
    (photos / "1.jpg").write_bytes(jpeg(1)[:700])
    (photos / "2.jpg").write_bytes(b"<html>not found</html>")
    with reviewed(folder) as server:
        server.get("api/dataset")
        (photos / "3.jpg").unlink()
        for number in range(4):
            answer = server.client.get(f"thumbnail/{number}")
            assert answer.status_code == 404
            assert answer.json()["what"].startswith("There is no such picture")
        for number in range(4, 8):
            answer = server.client.get(f"thumbnail/{number}")
            assert answer.headers["content-type"] == "image/jpeg"
            assert size(answer.content) == (160, 120)
        assert server.client.get("photo/1").content == jpeg(1)[:700]  # as it is
        assert server.client.get("photo/3").status_code == 404


def test_the_thumbnails_of_a_dataset_lie_in_one_folder_that_no_command_takes_for_photos(tmp_path: Path) -> None:
    folder = tree(tmp_path / "dataset")
    with reviewed(folder) as server:
        for number in range(8):
            assert server.client.get(f"thumbnail/{number}").status_code == 200
    assert {each.name for each in folder.iterdir()} == {"images", FILE.split("/")[0]}
    with reviewed(folder) as server:
        assert server.get("api/dataset")["count"] == 8
