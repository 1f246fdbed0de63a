"""Tell whether a JPEG would decode without decoding all of it, where most of the time of a check would go.

Of the coded pixels of a baseline JPEG, libjpeg refuses one thing only: that they end before a marker says so. Wrong
codes in between it takes as they are, for they mean other pixels. So such a file decodes when the segments before its
pixels do, which its topmost rows show, and when the pixels run on to the mark of the end.
"""

from __future__ import annotations

import re

#: Markers: ITU-T T.81, table B.1.
_START_OF_IMAGE, _BASELINE, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xd8", 0xC0, 0xDA, b"\xff\xd9"
#: Tables, comments and what applications add.
_BEFORE_PIXELS = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}
#: Within pixels 0xFF is followed by a zero, or is a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")

#: Bytes of pixels that the topmost rows get. If they need more, the rest of them is grey.
_ENOUGH = 1000

#: ``JPEG_MAX_DIMENSION``: libjpeg refuses more.
_TALLEST = 65_500


def topmost_rows(content: bytes) -> tuple[bytes, int] | None:
    """Return a JPEG of the topmost rows alone, and the height of the whole; it decodes if and only if the whole does.

    Returns
    -------
    None where the whole has to be decoded to know: no JPEG, not baseline, in several scans, of a few rows, cut, or with
    anything else about it.
    """
    frame, pixels = _segments(content)
    end = _MARKER.search(content, pixels) if pixels else None
    if not end or end[0] != _END_OF_IMAGE:
        return None
    height = int.from_bytes(content[frame + 5 : frame + 7])
    samplings = content[frame + 11 : frame + 11 + 3 * content[frame + 9] : 3]
    rows = 8 * max((each & 15 for each in samplings), default=0)
    if not 0 < rows < height <= _TALLEST:
        return None
    head = content[: frame + 5], rows.to_bytes(2), content[frame + 7 : min(pixels + _ENOUGH, end.start())]
    return b"".join((*head, _END_OF_IMAGE)), height


def _segments(content: bytes) -> tuple[int, int]:
    """Return where the frame's header and where the coded pixels begin; 0 and 0 where it is not as simple as that."""
    frame, place = 0, 2 if content.startswith(_START_OF_IMAGE) else len(content)
    while place + 10 < len(content) and content[place] == 0xFF:
        kind, behind = content[place + 1], place + 2 + int.from_bytes(content[place + 2 : place + 4])
        if kind == _START_OF_SCAN:
            of_all_components = frame and content[place + 4] == content[frame + 9]
            return (frame, behind) if of_all_components else (0, 0)
        if kind == _BASELINE and not frame:
            frame = place
        elif kind not in _BEFORE_PIXELS:
            break
        place = behind
    return 0, 0
