"""What is one whole photo, and how it is read."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
import textwrap
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shroomcurate.jpeg import topmost_rows
from shroomcurate.photos import (
    MAX_BYTES,
    MAX_PIXELS,
    NotAPhoto,
    PhotoFacts,
    check_photo,
    decode_photo,
    photo_bytes,
    read_photo,
)
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
def test_what_is_no_photo_is_refused_with_the_reason(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(NotAPhoto, match=why):
        check_photo(content)
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(NotAPhoto, match=why):
        read_photo(tmp_path / "photo.jpg")


@pytest.mark.parametrize(
    ("start", "size", "why"),
    [(b"\0\0\0 ftypisom", 10**12, "not a JPEG"), (encoded(RED, "PNG"), MAX_BYTES + 1, "300,000,001 bytes")],
)
def test_a_file_that_can_be_no_photo_is_not_read_to_its_end(tmp_path: Path, start: bytes, size: int, why: str) -> None:
    film = tmp_path / "film.jpg"
    film.write_bytes(start)
    os.truncate(film, size)  # a hole, which takes no room on the disk
    tracemalloc.start()
    with pytest.raises(NotAPhoto, match=why):
        photo_bytes(film)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"]), st.binary(max_size=40))
def test_what_the_start_of_a_file_refuses_no_decoder_takes(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes
) -> None:
    file = tmp_path_factory.mktemp("any") / "photo.jpg"
    file.write_bytes(start + rest)
    try:
        assert photo_bytes(file) == start + rest
    except NotAPhoto as refused:
        with pytest.raises(NotAPhoto, match=str(refused)):
            check_photo(start + rest)


NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8))
WHOLE = {
    "jpeg": encoded(NOISE, "JPEG"),
    "progressive": encoded(NOISE, "JPEG", progressive=True),
    "cmyk": encoded(NOISE.convert("CMYK"), "JPEG"),
    "grey": encoded(NOISE.convert("L"), "JPEG"),
    "png": encoded(NOISE, "PNG"),
    "gif": encoded(NOISE, "GIF"),
}
MOVING = {
    "gif": encoded(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(90), NOISE.rotate(180)]),
    "mpo": encoded(NOISE, "MPO", quality=95, subsampling=0, save_all=True, append_images=[NOISE.rotate(180)]),
    "png": encoded(NOISE, "PNG", save_all=True, append_images=[NOISE.rotate(180)]),
}


@pytest.mark.parametrize("kind", WHOLE)
@given(share=st.floats(0, 1))
def test_a_photo_cut_anywhere_is_refused(kind: str, share: float) -> None:
    """But for its end mark: a PNG ends with 20 bytes of it and of check sums, the others with 2."""
    whole = WHOLE[kind]
    check_photo(whole)
    with pytest.raises(NotAPhoto):
        check_photo(whole[: int(share * (len(whole) - (21 if kind == "png" else 3)))])


@pytest.mark.parametrize("kind", MOVING)
def test_a_photo_of_many_pictures_that_is_cut_in_a_later_one_has_its_first(kind: str) -> None:
    check_photo(MOVING[kind][: len(MOVING[kind]) * 4 // 5])
    with pytest.raises(NotAPhoto):
        check_photo(MOVING[kind][: len(MOVING[kind]) // 8])


@pytest.mark.parametrize("kind", ["gif", "mpo", "png"])
def test_of_many_pictures_the_first_is_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "photo").write_bytes(MOVING[kind])
    found, first = read_photo(tmp_path / "photo"), NOISE
    assert found.size == first.size
    apart = np.abs(np.asarray(found, int) - np.asarray(first, int)).mean()
    assert apart < 40, "noise suffers from JPEG and from 256 colours, another picture is 85 apart"


def test_a_cmyk_photo_keeps_its_colours(tmp_path: Path) -> None:
    (tmp_path / "print.jpg").write_bytes(encoded(RED.convert("CMYK"), "JPEG", quality=95))
    found = read_photo(tmp_path / "print.jpg")
    assert found.mode == "RGB"
    assert np.abs(np.asarray(found, int) - np.asarray(RED, int)).max() < 12


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"iCCP", b""),
        (b"iCCP", b"name\0\7"),
        (b"zTXt", b"name\0\0" + zlib.compress(bytes(2**21))),
        (b"tRNS", b""),
        (b"pHYs", b"1"),
        (b"eXIf", b"1"),
    ],
)
def test_a_png_with_nonsense_behind_its_pixels_is_a_photo_or_refused(tmp_path: Path, name: bytes, data: bytes) -> None:
    whole = WHOLE["png"]
    content = whole[:-12] + chunk(name, data) + whole[-12:]
    with contextlib.suppress(NotAPhoto):
        check_photo(content)
        (tmp_path / "photo.png").write_bytes(content)
        assert read_photo(tmp_path / "photo.png").mode == "RGB"


@pytest.mark.parametrize("content", [*WHOLE.values(), *MOVING.values()], ids=[*WHOLE, *(f"moving {k}" for k in MOVING)])
@given(damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=4))
def test_a_photo_damaged_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, damage: list[tuple[float, bytes]]
) -> None:
    damaged = bytearray(content)
    for share, other in damage:
        place = int(share * len(damaged))
        damaged[place : place + len(other)] = other
    photo = with_right_sums(bytes(damaged))
    try:
        check_photo(photo)
    except NotAPhoto:
        return
    file = tmp_path_factory.getbasetemp() / "damaged"
    file.write_bytes(photo)
    assert read_photo(file).mode == "RGB"


LARGE = Image.fromarray(np.random.default_rng(2).integers(0, 255, (90, 70, 3), dtype=np.uint8))
BASELINE = {
    "plain": encoded(LARGE, "JPEG"),
    "fine colours": encoded(LARGE, "JPEG", subsampling=0, quality=97),
    "restarts": encoded(LARGE, "JPEG", restart_marker_blocks=3),
    "grey": encoded(LARGE.convert("L"), "JPEG"),
    "cmyk": encoded(LARGE.convert("CMYK"), "JPEG"),
    "with EXIF data": encoded(LARGE, "JPEG", exif=b"Exif\0\0" + encoded(NOISE, "JPEG"), comment=b"\xff\xd9"),
}
#: Whole and damaged markers and their lengths, which random bytes seldom are.
SPLINTERS = st.one_of(
    st.binary(min_size=1, max_size=4),
    st.builds(lambda marker, rest: bytes([0xFF, marker]) + rest, st.integers(0, 255), st.binary(max_size=3)),
)


def checked(content: bytes) -> PhotoFacts | None:
    """Return what is told of a photo; None when it is refused."""
    with contextlib.suppress(NotAPhoto):
        return check_photo(content)
    return None


def decoded_whole(content: bytes) -> PhotoFacts | None:
    """Return what Pillow says when it decodes all of a JPEG; None when it refuses."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            image.load()
            return PhotoFacts(*image.size, "jpg")
    except Exception:  # noqa: BLE001  # whatever the damage makes it stumble over
        return None


@pytest.mark.parametrize("kind", BASELINE)
@settings(max_examples=200)
@given(
    damage=st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 4, 100, 10_000]), SPLINTERS), max_size=3),
    among_the_first=st.booleans(),
)
def test_the_verdict_on_a_jpeg_is_that_of_decoding_it_whole(
    kind: str, damage: list[tuple[float, int, bytes]], among_the_first: bool
) -> None:
    content = BASELINE[kind]
    for share, cut, splinter in damage:
        place = int(share * min(len(content), 800 if among_the_first else len(content)))
        content = content[:place] + splinter + content[place + cut :]
    assert checked(content) == decoded_whole(content)


@pytest.mark.parametrize("kind", BASELINE)
def test_a_whole_jpeg_is_not_decoded_to_its_end(kind: str) -> None:
    part, height = topmost_rows(BASELINE[kind]) or (b"", 0)
    assert height == 90
    assert 0 < len(part) < len(BASELINE[kind])


@pytest.mark.parametrize("height", [0, 7, 8, 90, 65_500, 65_501])
def test_a_jpeg_of_another_height_than_it_has_gets_the_same_verdict(height: int) -> None:
    content = BASELINE["plain"]
    frame = content.index(b"\xff\xc0")
    content = content[: frame + 5] + height.to_bytes(2) + content[frame + 7 :]
    assert checked(content) == decoded_whole(content)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_photo_or_refused_and_never_a_crash(content: bytes) -> None:
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"):
        with contextlib.suppress(NotAPhoto):
            assert check_photo(start + content).width > 0


def chunk(kind: bytes, data: bytes) -> bytes:
    """A piece of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_right_sums(content: bytes) -> bytes:
    """Repair the check sums of a PNG, so that damage to it gets as far as the decoder."""
    if not content.startswith(b"\x89PNG"):
        return content
    repaired, place = content[:8], 8
    while (length := int.from_bytes(content[place : place + 4], "big")) <= len(content) - place - 12:
        repaired += chunk(content[place + 4 : place + 8], content[place + 8 : place + 8 + length])
        place += 12 + length
    return repaired + content[place:]


def black_png(width: int, height: int) -> bytes:
    """A whole PNG of nothing but zeros, one bit a pixel: some thousand times smaller than what it holds."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(1)
    line = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(line * 100) for _ in range(height // 100)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def peak_megabytes(act: str, content: bytes, folder: Path) -> tuple[int, str]:
    """Run ``act(content)`` in a process of its own: MB of memory that it took on top, and what it returned."""
    script = """
        import sys
        from pathlib import Path
        from PIL import Image, JpegImagePlugin, PngImagePlugin
        from shroomcurate.photos import NotAPhoto, check_photo, read_photo
        file = Path(sys.argv[1])
        content = file.read_bytes()
        def peak():  # what getrusage says begins with the memory of the process that started this one
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
        before = peak()
        try:
            found = ACT
        except NotAPhoto as error:
            found = error
        print(peak() - before, found)
    """
    (folder / "photo").write_bytes(content)
    words = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script).replace("ACT", act), str(folder / "photo")]
    taken, found = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split(" ", 1)
    return int(taken), found


def test_a_photo_of_50_megapixels_is_taken_in_modest_memory(tmp_path: Path) -> None:
    width, height = 8660, 5780
    large = encoded(Image.new("RGB", (width, height), (90, 140, 60)), "JPEG")
    taken, found = peak_megabytes("check_photo(content)", large, tmp_path)
    assert f"width={width}, height={height}" in found
    assert taken < 260, "the picture itself: 4 bytes a pixel, and nothing of that size beside it"
    taken, found = peak_megabytes("read_photo(file, at_least=256).size", large, tmp_path)
    assert min(int(side) for side in found.strip(" ()\n").split(",")) >= 256
    assert taken < 30, "decoded at an eighth of its sides"


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (10_100, 10_000)])
def test_a_decompression_bomb_is_refused_without_being_decoded(tmp_path: Path, width: int, height: int) -> None:
    """The larger holds 900 million pixels; the smaller only just too many, and Pillow itself would take it."""
    bomb = black_png(width, height)
    assert width * height > MAX_PIXELS
    started = time.monotonic()
    with pytest.warns() if height == 10_000 else contextlib.nullcontext(), pytest.raises(NotAPhoto):
        check_photo(bomb)
    assert time.monotonic() - started < 0.5
    taken, found = peak_megabytes("check_photo(content)", bomb, tmp_path)
    assert "width=" not in found
    assert taken < 20


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_photo_just_within_the_limit_is_taken() -> None:
    facts = check_photo(black_png(10_000, 10_000))
    assert facts.width * facts.height == MAX_PIXELS


@pytest.mark.parametrize("orientation", range(1, 9))
def test_width_and_height_are_those_stored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    facts = check_photo(encoded(RED, "JPEG", exif=exif))
    assert (facts.width, facts.height) == (60, 40)


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


@pytest.mark.parametrize("chunk", ["tRNS", "PLTE"])
def test_a_palette_that_is_not_what_the_file_says_is_refused_or_read(chunk: str) -> None:
    """A palette PNG with more transparencies than colours, or without a palette."""
    photo = Image.new("P", (8, 8), 3)
    photo.putpalette([0, 0, 0, 255, 255, 255])
    out = io.BytesIO()
    photo.save(out, "PNG")
    content = out.getvalue()
    at = content.index(b"PLTE") - 4
    end = at + 12 + int.from_bytes(content[at : at + 4], "big")
    if chunk == "PLTE":
        content = content[:at] + content[end:]
    else:
        data = b"tRNS" + bytes(300)
        extra = (300).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")
        content = content[:end] + extra + content[end:]
    with contextlib.suppress(NotAPhoto):
        assert decode_photo(content).mode == "RGB"
