"""What is one whole photo, and how it is read."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shroomcurate.photos import MAX_PIXELS, NotAPhoto, check_photo, read_photo
from tests.conftest import jpeg


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RED = Image.new("RGB", (60, 40), (200, 30, 30))


@pytest.mark.parametrize(
    ("content", "extension"),
    [
        (encoded(RED, "JPEG"), "jpg"),
        (encoded(RED.convert("CMYK"), "JPEG"), "jpg"),
        (encoded(RED.convert("L"), "JPEG"), "jpg"),
        (encoded(RED, "PNG"), "png"),
        (encoded(RED, "GIF", save_all=True, append_images=[RED.rotate(90, expand=True)]), "gif"),
        (encoded(RED, "MPO", save_all=True, append_images=[RED]), "jpg"),
    ],
    ids=["jpeg", "cmyk", "grey", "png", "animated gif", "mpo"],
)
def test_the_true_type_decides_the_file_end(content: bytes, extension: str) -> None:
    facts = check_photo(content)
    assert (facts.width, facts.height, facts.extension) == (60, 40, extension)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"<html><body>Access Denied</body></html>", "HTML"),
        (b"\n <?xml version='1.0'?><Error/>", "HTML or XML"),
        (b"GIF89a", "not"),
        (b"\xff\xd8\xff\xe0 JFIF", "not"),
        (encoded(RED, "BMP"), "not a JPEG, PNG or GIF"),
        (encoded(RED, "TIFF"), "not a JPEG, PNG or GIF"),
    ],
)
def test_what_is_no_photo_is_refused_with_the_reason(content: bytes, why: str) -> None:
    with pytest.raises(NotAPhoto, match=why):
        check_photo(content)


@given(cut=st.integers(1, 4000))
def test_a_photo_cut_anywhere_is_refused(cut: int) -> None:
    whole = jpeg(1)
    with pytest.raises(NotAPhoto):
        check_photo(whole[: max(0, len(whole) - 2 - cut)])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_photo_or_refused_and_never_a_crash(content: bytes) -> None:
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"):
        with contextlib.suppress(NotAPhoto):
            assert check_photo(start + content).width > 0


def test_a_decompression_bomb_is_refused_without_being_decoded() -> None:
    side = 60_000

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    assert side * side > MAX_PIXELS
    with pytest.raises(NotAPhoto):
        check_photo(bomb + chunk(b"IEND", b""))


def test_a_photo_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    (tmp_path / "turned.jpg").write_bytes(encoded(RED, "JPEG", exif=exif))
    assert read_photo(tmp_path / "turned.jpg").size == (40, 60)


def test_a_transparent_photo_stands_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(read_photo(tmp_path / "clear.png")).min() == 255


def test_a_smaller_decoding_keeps_the_shorter_side_large_enough(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(jpeg(1, size=(1600, 1200)))
    small = read_photo(tmp_path / "large.jpg", at_least=256)
    assert 256 <= min(small.size) < 1200
    assert small.mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_a_viewer_turns_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    corner = RED.copy()
    corner.paste((0, 0, 0), (0, 0, 20, 13))
    (tmp_path / "photo.png").write_bytes(encoded(corner, "PNG", exif=exif))
    with Image.open(tmp_path / "photo.png") as image:
        viewed = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(np.asarray(read_photo(tmp_path / "photo.png")), viewed)


@given(place=st.integers(0, 60), value=st.integers(0, 255))
def test_damaged_exif_data_do_not_spoil_a_photo(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    exif[0x8769] = {0x9000: b"0230"}
    content = bytearray(encoded(RED, "JPEG", exif=exif))
    content[content.index(b"Exif") + 6 + place] = value
    file = tmp_path_factory.mktemp("exif") / "photo.jpg"
    file.write_bytes(bytes(content))
    check_photo(bytes(content))
    assert read_photo(file).mode == "RGB"


def test_sixteen_bits_of_grey_stay_grey(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "deep.png")
    assert 126 <= np.asarray(read_photo(tmp_path / "deep.png")).mean() <= 130
