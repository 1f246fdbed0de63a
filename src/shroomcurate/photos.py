"""Decoding photographs: the one place that decides what is a whole photo."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate.jpeg import topmost_rows

if TYPE_CHECKING:
    from PIL.Image import Image

#: Formats of the open data and the file end each gets, whatever name it came under.
#: MPO is a JPEG with more pictures behind the first, as some phones write it.
EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif"}
_DECODERS = ("JPEG", "PNG", "GIF")  # JPEG's recognises MPO by itself

#: Pixels above which a file is refused undecoded. The bucket's largest size is 2048 x 2048; a bomb has billions.
MAX_PIXELS = 100_000_000

#: Bytes above which a file is refused unread: what so many pixels take uncompressed. Folders hold films, too.
MAX_BYTES = 3 * MAX_PIXELS

_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8")  # of the formats that are decoded


@dataclass(frozen=True)
class PhotoFacts:
    """What decoding a whole photo tells: width and height in pixels as stored, and the true file end."""

    width: int
    height: int
    extension: str


class NotAPhoto(ValueError):
    """The bytes are not one whole photograph; the message says why. Data, not a stage's failure."""


def check_photo(content: bytes) -> PhotoFacts:
    """Tell whether a photo decodes to its end; of several pictures the first, which is the one that every stage uses.

    Raises
    ------
    NotAPhoto
        Empty, no image of a known format, truncated, or too many pixels.
    """
    if top := topmost_rows(content):
        part, height = top
        with _open(part) as image:
            if image.format == "JPEG":  # an MPO is told by its first picture's segments, and may be damaged elsewhere
                _refuse_a_bomb(image.width, height)
                return _decoded(image, height)
    with _open(content) as image:
        return _decoded(image, image.height)


def _decoded(image: Image, height: int) -> PhotoFacts:
    """Decode what was opened, which stands for a photo of this height."""
    facts = PhotoFacts(image.width, height, EXTENSIONS[image.format or ""])
    image.draft("L", (1, 1))  # a JPEG at an eighth of its size, and grey, is read to its last byte all the same
    _load(image)
    return facts


def read_photo(path: Path, at_least: int | None = None) -> Image:
    """Read a photo from a file, see :func:`photo_bytes` and :func:`decode_photo`."""
    return decode_photo(photo_bytes(path), at_least)


def photo_bytes(path: Path) -> bytes:
    """Return what is in a photo's file.

    Raises
    ------
    NotAPhoto
        It does not begin as a photo, or is larger than any. It is not read further then.
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(16)
        if not start.startswith(_STARTS):
            raise _no_photo(start)
        if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
            raise NotAPhoto(f"{size:,} bytes, more than {MAX_BYTES:,}")
        return start + file.read()


def decode_photo(content: bytes, at_least: int | None = None) -> Image:
    """Decode a photo as RGB, upright by EXIF, first frame if it moves, on white if it is transparent.

    Parameters
    ----------
    at_least
        When given, JPEGs are decoded at the smallest of 1/1, 1/2, 1/4, 1/8 whose shorter side still has this many
        pixels: several times faster.

    Raises
    ------
    NotAPhoto
        As :func:`check_photo`.
    """
    with _open(content) as image:
        if at_least is not None:
            image.draft("RGB", (at_least, at_least))
        _load(image)
        upright = _upright(image)
        try:
            return _rgb(upright)
        except (ValueError, AssertionError) as error:  # a palette that is not what the file says of it
            raise NotAPhoto(f"its colours cannot be read: {error or 'damaged palette'}") from error


def _rgb(image: Image) -> Image:
    """Return a photo as RGB, on white where it is transparent."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits of grey, which convert() would clip to white
        image = image.point(lambda level: level / 256).convert("L")
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _upright(image: Image) -> Image:
    """Turn a photo as the orientation in its EXIF data says; damaged EXIF data say nothing."""
    from PIL.ExifTags import Base
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(Base.Orientation, 1))
    except Exception:  # noqa: BLE001  # the EXIF reader raises whatever the damage makes it stumble over
        turn = None
    return image if turn is None else image.transpose(turn)


def _open(content: bytes) -> Image:
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content), formats=_DECODERS)
    except Exception as error:  # a decoder raises whatever the damage makes it stumble over
        raise _no_photo(content[:16]) from error
    _refuse_a_bomb(image.width, image.height)
    return image


def _no_photo(start: bytes) -> NotAPhoto:
    """Return what to raise of a file that begins so."""
    if not start:
        return NotAPhoto("empty file")
    return NotAPhoto("HTML or XML" if start.lstrip().startswith(b"<") else "not a JPEG, PNG or GIF")


def _refuse_a_bomb(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise NotAPhoto(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")


def _load(image: Image) -> None:
    try:
        image.load()
    except Exception as error:  # as above
        raise NotAPhoto(f"does not decode: {error}") from error
