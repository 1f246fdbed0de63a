"""The photos on the page: small, without metadata, with whose they are."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shroomcurate.photos import NotAPhoto, read_photo
from shroomcurate.progress import Progress
from shroomcurate.report.known import Known, Row


class Pictures:
    """Collects the photos that the page shows, and makes their pictures all at once."""

    def __init__(self, known: Known, pixels: int) -> None:
        self.known, self.pixels = known, pixels
        self.shown = 0
        self._asked: list[tuple[Path | None, dict[str, Any]]] = []

    def ask(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Return what the page says of each photo; its ``picture`` is there after :meth:`make`.

        Parameters
        ----------
        rows
            Each with ``path`` and ``class``; ``reason``, where it is known, tells where the photo lies.
        """
        return [self._one(row) for row in self.known.shown(rows)]

    def _one(self, row: Row) -> dict[str, Any]:
        said = {
            **row,
            "picture": None,
            "name": row.get("class_name") or row["class"].replace("_", " "),
            "photo_id": row.get("photo_id"),
            "observation": row.get("observation_uuid"),
            "file": row["path"].split("/")[-1],
            "attribution": row.get("attribution") or "photographer not known here",
        }
        self._asked.append((self.known.place(row["path"], row.get("reason")), said))
        return said

    def make(self, progress: Progress) -> None:
        """Make every picture that was asked for; a photo that cannot be shown has none."""
        places = [place for place, _ in self._asked]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # the decoder lets other threads work
            for number, picture in enumerate(pool.map(self._picture, places), start=1):
                self._asked[number - 1][1]["picture"] = picture
                self.shown += picture is not None
                progress(number, len(places), "thumbnails")

    def _picture(self, place: Path | None) -> dict[str, Any] | None:
        """Return the photo as a small WebP in a data URI, without its metadata (which can tell where it was taken)."""
        try:
            image = read_photo(place, at_least=self.pixels) if place else None
        except (NotAPhoto, OSError):
            return None
        if image is None:
            return None
        image.thumbnail((self.pixels, self.pixels))
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=70, method=4, exif=b"", icc_profile=b"")
        uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
        return {"uri": uri, "width": image.width, "height": image.height}
