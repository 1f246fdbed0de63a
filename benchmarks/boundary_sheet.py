"""A picture of what cleaning decided: for each reason photos that went, and on both sides of the line those nearest it.

Run: ``python -m benchmarks.boundary_sheet DATASET sheet.webp`` on any dataset that `clean` has judged, or with
``--images DIR`` in place of DATASET on class folders that somebody else made. The sheets of ``docs/cleaning.md`` are of
the demo's painted photos. Real photos belong to their photographers: a sheet of them is to look at, not to publish.

A row for each reason, the highest score first; then the removed photos whose score is nearest 0.5, and the kept ones.
Under each photo stand its score and the reason. What a person decided is in no row, nor is the score of a duplicate
near any line. With ``--no-learn`` the score is not what decides; the last rows then show the photos about as far
from their class as eps.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from shroomcurate.dataset import Dataset, read_table
from shroomcurate.photos import read_photo
from shroomcurate.verdicts import REASONS

INK, PALE, PAPER = (32, 32, 32), (96, 96, 96), (250, 249, 246)
MARGIN, TEXT = 8, 13  # pixels


@dataclass(frozen=True)
class Sheet:
    """How large a sheet is: photos in a row, and pixels of each photo's side."""

    across: int = 8
    pixels: int = 112


class Shown(NamedTuple):
    """A photo of a sheet."""

    path: str
    score: float
    reason: str | None


def rows(dataset: Dataset, across: int) -> list[tuple[str, list[Shown]]]:
    """Return the rows of a sheet: what each shows, and its photos."""
    table = read_table(dataset.require("clean.parquet"), ["path", "score", "reason", "decided_by"]).to_pylist()
    judged = [_shown(row) for row in table if row["decided_by"] != "person"]
    found = []
    for reason in REASONS:
        own = sorted((each for each in judged if each.reason == reason), key=lambda each: (-each.score, each.path))
        if own:
            found.append((f"{reason}: {len(own)}", own[:across]))
    noise = [each for each in judged if each.reason not in (None, "duplicate")]
    # Above 0.5 and kept is a photo of a class that was left alone.
    kept = [each for each in judged if each.reason is None and each.score <= 0.5]
    for title, own in (("removed, nearest the line", noise), ("kept, nearest the line", kept)):
        if own:
            found.append((title, sorted(own, key=lambda each: (abs(each.score - 0.5), each.path))[:across]))
    return found


def _shown(row: dict[str, Any]) -> Shown:
    return Shown(row["path"], row["score"], row["reason"])


def draw(dataset: Dataset, sheet: Sheet = Sheet()) -> Image.Image:
    """Return the sheet. On paper of its own, so that it reads on a light page and on a dark one."""
    places = dataset.photos()
    found = rows(dataset, sheet.across)
    side, line = sheet.pixels + MARGIN, TEXT + 5
    height = sheet.pixels + 2 * line + MARGIN
    picture = Image.new("RGB", (MARGIN + sheet.across * side, MARGIN + len(found) * height), PAPER)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(TEXT)
    for number, (title, photos) in enumerate(found):
        top = MARGIN + number * height
        pen.text((MARGIN, top), title, INK, font)
        for place, each in enumerate(photos):
            left = MARGIN + place * side
            if each.path in places:
                picture.paste(_thumbnail(places[each.path], sheet.pixels), (left, top + line))
            caption = f"{each.score:.2f} {each.reason or ''}"
            pen.text((left, top + line + sheet.pixels + 1), caption, PALE, font)
    return picture


def _thumbnail(file: Path, pixels: int) -> Image.Image:
    """Return the whole photo, for what is wrong with one is often at its edge."""
    return ImageOps.pad(read_photo(file, at_least=pixels), (pixels, pixels), color=PAPER, centering=(0, 0))


def main(words: Sequence[str] | None = None) -> None:
    """Write the sheet that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?", metavar="DATASET")
    parser.add_argument("sheet", type=Path, metavar="SHEET", help="a .webp or .png")
    parser.add_argument("--images", type=Path, metavar="DIR", help="class folders that somebody else made")
    parser.add_argument("--across", type=int, default=Sheet.across, help="photos in a row")
    parser.add_argument("--pixels", type=int, default=Sheet.pixels, help="side of each photo")
    chosen = parser.parse_args(words)
    if (chosen.dataset is None) == (chosen.images is None):
        parser.error("give DATASET or --images DIR")
    dataset = Dataset(images=chosen.images) if chosen.images else Dataset(chosen.dataset)
    draw(dataset, Sheet(chosen.across, chosen.pixels)).save(chosen.sheet)


if __name__ == "__main__":
    main()
