"""One self-contained HTML page about a dataset: what was asked, what was taken, what was thrown out and why.

Reads: every table that is there, the newest run's metrics, a few photos. Writes: ``report.html``. Resumes: it takes
seconds; run it again.

The page asks nothing of any server: photos are ``data:`` URIs, charts are inline SVG, and there is no script. It
holds no time and no path of the machine, so the same dataset gives the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from shroomcurate import report_facts
from shroomcurate.dataset import Dataset, Receipt, write_bytes
from shroomcurate.errors import BadOption
from shroomcurate.photos import NotAPhoto, read_photo
from shroomcurate.progress import Progress, silent
from shroomcurate.report_facts import Known, Row
from shroomcurate.safety import SAFETY_NOTICE

#: What the reasons of `clean` mean to a reader.
REASONS = {
    "microscopy": "seen through a microscope: spores, tissue",
    "scenery": "a landscape, in which the organism is not to be found",
    "obstructed": "something stands before the lens, such as a finger",
    "too_far": "the organism is too small in the picture",
    "person": "people, hands or faces are the subject",
    "drawing": "drawn or painted",
    "screenshot": "a picture of a screen, a page or a map",
    "blurred": "out of focus or shaken",
    "duplicate": "the same picture as another one that was kept",
    "outlier": "unlike the rest of its class, for no reason that has a name",
}
#: The command that makes what a section shows.
MADE_BY = {
    "asked": "query",
    "classes": "query",
    "licences": "query",
    "downloads": "download",
    "removed": "clean",
    "split": "train-baseline",
    "baseline": "train-baseline",
}


@dataclass(frozen=True)
class ReportOptions:
    """How much of the dataset the page shows.

    Attributes
    ----------
    thumbnails_per_reason
        Photos shown for each reason of removal. 12 fill two or three lines and keep the page near one megabyte.
    thumbnail_pixels
        Longer side of a thumbnail: enough to see why a photo was removed, some 5 kB each.
    note
        A sentence for a banner on top of the page, such as that its photos are painted. None: no banner.
    """

    thumbnails_per_reason: int = 12
    thumbnail_pixels: int = 200
    note: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.thumbnails_per_reason <= 200:
            raise BadOption(
                f"thumbnails_per_reason is {self.thumbnails_per_reason}.", "Give a whole number from 0 to 200."
            )
        if not 32 <= self.thumbnail_pixels <= 1024:
            raise BadOption(f"thumbnail_pixels is {self.thumbnail_pixels}.", "Give a whole number from 32 to 1024.")


@dataclass(frozen=True)
class ReportSummary:
    """What the page holds.

    Attributes
    ----------
    path
        Where it lies.
    sections
        Those that had something to show.
    missing
        Sections that had nothing -> the command that makes it.
    thumbnails
        Photos shown.
    bytes
        Size of the page.
    """

    path: str
    sections: tuple[str, ...]
    missing: Mapping[str, str]
    thumbnails: int
    bytes: int


def report(dataset: Dataset, options: ReportOptions = ReportOptions(), progress: Progress = silent) -> ReportSummary:
    """Write ``report.html``, one page about the dataset as it is now.

    A section whose table is not there yet says which command makes it.

    Raises
    ------
    StageMissing
        There is neither a selection nor a photo.
    DamagedFile
        A table cannot be read.
    """
    if not dataset.photos():
        dataset.require("selection.parquet")
    with dataset.lock("report"):
        known = Known(dataset)
        thumbnails = _Thumbnails(known, options, progress)
        facts: dict[str, Any] = {
            "asked": report_facts.asked(known),
            "classes": report_facts.classes(known),
            "licences": report_facts.licences(known),
            "downloads": report_facts.downloads(known),
            "removed": _removed(known, thumbnails),
            "split": report_facts.split(known),
            "baseline": report_facts.baseline(known),
        }
        page = _render(known, options, facts)
        write_bytes(dataset.path("report.html"), page)
    missing = {name: MADE_BY[name] for name, found in facts.items() if found is None}
    return ReportSummary(
        path=str(dataset.path("report.html")),
        sections=tuple(name for name in facts if name not in missing),
        missing=missing,
        thumbnails=thumbnails.shown,
        bytes=len(page),
    )


def _removed(known: Known, thumbnails: _Thumbnails) -> dict[str, Any] | None:
    rows = known.clean
    if rows is None:
        return None
    by_reason: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if not row["kept"]:
            by_reason[str(row["reason"])].append(row)
    kept = [row for row in rows if row["kept"]]
    order = sorted(by_reason, key=lambda reason: (-len(by_reason[reason]), reason))
    thumbnails.expect([*map(len, by_reason.values()), len(kept)])
    return {
        "judged": len(rows),
        "total": len(rows) - len(kept),
        "duplicates": len(by_reason.get("duplicate", ())),
        "by_person": sum(row["decided_by"] == "person" for row in rows),
        "reasons": [
            {
                "name": reason,
                "meaning": REASONS.get(reason, ""),
                "count": len(by_reason[reason]),
                "decided_by": sorted(Counter(str(row["decided_by"]) for row in by_reason[reason]).items()),
                "photos": thumbnails.make(_spread(by_reason[reason])),
            }
            for reason in order
        ],
        "borderline": thumbnails.make(sorted(kept, key=lambda row: (-_score(row), row["path"]))),
    }


def _spread(rows: list[Row]) -> list[Row]:
    """Order photos so that the first few come from many classes, each class's clearest case first."""
    ranks: Counter[str] = Counter()
    ranked = []
    for row in sorted(rows, key=lambda row: (-_score(row), row["path"])):
        ranks[row["class"]] += 1
        ranked.append((ranks[row["class"]], -_score(row), row["path"], row))
    return [row for *_, row in sorted(ranked, key=lambda entry: entry[:3])]


def _score(row: Row) -> float:
    return row["score"] or 0.0


# -- thumbnails ------------------------------------------------------------------------------------------------


class _Thumbnails:
    """Makes the pictures of the page and counts them."""

    def __init__(self, known: Known, options: ReportOptions, progress: Progress) -> None:
        self.known, self.options, self.progress = known, options, progress
        self.shown = self.asked = self.total = 0

    def expect(self, groups: Iterable[int]) -> None:
        """Say how many photos there are in each group that will be asked for."""
        self.total = sum(min(count, self.options.thumbnails_per_reason) for count in groups)

    def make(self, rows: list[Row]) -> list[dict[str, Any]]:
        """Return the first few photos with picture and credit; one that cannot be shown has no picture."""
        return [self._one(row) for row in rows[: self.options.thumbnails_per_reason]]

    def _one(self, row: Row) -> dict[str, Any]:
        selected = self.known.selected_at(row["path"]) or {}
        picture = self._picture(self.known.photos.get(row["path"]))
        self.asked += 1
        self.shown += picture is not None
        self.progress(self.asked, self.total, "thumbnails")
        return {
            "picture": picture,
            "class": selected.get("class_name") or row["class"].replace("_", " "),
            "photo_id": selected.get("photo_id"),
            "observation": selected.get("observation_uuid"),
            "file": Path(row["path"]).name,
            "attribution": selected.get("attribution") or "photographer not known here",
            "score": row["score"],
            "duplicate_of": Path(row["duplicate_of"]).name if row["duplicate_of"] else None,
        }

    def _picture(self, place: Path | None) -> dict[str, Any] | None:
        """Return the photo as a small WebP in a data URI, without its metadata (which can tell where it was taken)."""
        size = self.options.thumbnail_pixels
        try:
            image = read_photo(place, at_least=size) if place else None
        except (NotAPhoto, OSError):
            return None
        if image is None:
            return None
        image.thumbnail((size, size))
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=70, method=4, exif=b"", icc_profile=b"")
        uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
        return {"uri": uri, "width": image.width, "height": image.height}


# -- the page --------------------------------------------------------------------------------------------------


def _render(known: Known, options: ReportOptions, facts: Mapping[str, Any]) -> bytes:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"number": _number, "percent": _percent, "share": _share}
    template = resources.files("shroomcurate").joinpath("report_page.html.j2").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        facts,
        made_by=MADE_BY,
        outdated=report_facts.outdated(known),
        note=options.note,
        safety_notice=SAFETY_NOTICE,
        receipt=Receipt("report", asdict(options), known.inputs).to_json(),
        receipts=[
            (name, receipt, sorted(report_facts.as_words(receipt.options)))
            for name, receipt in sorted(known.receipts.items())
        ],
        inputs=sorted(known.inputs.items()),
        foreign=known.selection is None and known.downloads is None,
        on_disk=len(known.photos),
    )
    return page.encode(errors="replace")  # a folder's name need not be UTF-8


def _number(value: float | None) -> str:
    """Write a count with thin spaces between thousands; an en dash when it is not known yet."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def _percent(part: float | None, signed: bool = False) -> str:
    """Write a share of 1 as per cent with one decimal."""
    if part is None:
        return "–"
    return f"{100 * part:{'+' if signed else ''}.1f}\u202f%".replace("-", "\u2212")


def _share(part: float, whole: float) -> str:
    return _percent(part / whole) if whole else "–"
