"""One self-contained HTML page about a dataset: what was asked, what was taken, what was thrown out and why.

Reads: every table that is there, the newest run, a few photos. Writes: ``report.html``. Resumes: it takes
seconds; run it again.

The page asks nothing of any server: photos are ``data:`` URIs, and so is the attribution file; charts are inline SVG,
and there is no script. It holds no time and no path of the machine, so the same dataset gives the same bytes.

What is read is in :mod:`.known`; what the page says in :mod:`.sections`, :mod:`.places`, :mod:`.removed`,
:mod:`.baseline` and :mod:`.attribution`; how it looks in ``page/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Dataset, Receipt, write_bytes
from shroomcurate.errors import BadOption
from shroomcurate.progress import Bytes, Progress, silent
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.summary import Summary

if TYPE_CHECKING:
    from shroomcurate.report.known import Known
    from shroomcurate.report.pictures import Pictures

#: The command that makes what a section shows.
MADE_BY = {
    "asked": "query",
    "classes": "query",
    "licences": "query",
    "places": "query",
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
        Photos shown for each reason of removal. 12 fill two or three lines and keep the page below three megabytes.
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
class ReportSummary(Summary):
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
    from shroomcurate.report.known import Known
    from shroomcurate.report.pictures import Pictures

    if not dataset.path("selection.parquet").exists() and not dataset.photos():
        dataset.require("selection.parquet")
    with dataset.lock("report"):
        known = Known(dataset)
        pictures = Pictures(known, options.thumbnail_pixels)
        facts = _facts(known, pictures, options, progress)
        pictures.make(progress)
        page = _render(known, options, facts)
        write_bytes(dataset.path("report.html"), page)
    missing = {name: MADE_BY[name] for name in MADE_BY if facts[name] is None}
    return ReportSummary(
        path=str(dataset.path("report.html")),
        sections=tuple(name for name in MADE_BY if name not in missing),
        missing=missing,
        thumbnails=pictures.shown,
        bytes=len(page),
    )


def _facts(known: Known, pictures: Pictures, options: ReportOptions, progress: Progress) -> dict[str, Any]:
    from shroomcurate.report import sections
    from shroomcurate.report.attribution import attribution
    from shroomcurate.report.baseline import baseline
    from shroomcurate.report.places import places
    from shroomcurate.report.removed import removed

    makers: dict[str, Callable[[], Any]] = {
        "asked": lambda: sections.asked(known),
        "classes": lambda: sections.classes(known),
        "licences": lambda: sections.licences(known),
        "attribution": lambda: attribution(known),
        "places": lambda: places(known),
        "downloads": lambda: sections.downloads(known),
        "removed": lambda: removed(known, pictures, options.thumbnails_per_reason),
        "split": lambda: sections.split(known),
        "baseline": lambda: baseline(known, pictures),
        "receipts": lambda: sections.receipts(known),
    }
    facts = {}
    for number, (name, make) in enumerate(makers.items(), start=1):
        facts[name] = make()
        progress(number, len(makers), "sections")
    return facts


def _render(known: Known, options: ReportOptions, facts: Mapping[str, Any]) -> bytes:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from shroomcurate.report.known import outdated

    environment = Environment(
        loader=PackageLoader("shroomcurate.report", "page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"number": _number, "percent": _percent, "points": _points, "share": _share, "size": _size}
    environment.globals |= {
        "made_by": MADE_BY,
        "outdated": outdated(known),
        "foreign": known.selection is None and known.downloads is None,
        "safety_notice": SAFETY_NOTICE,
    }
    receipt = Receipt("report", asdict(options), known.inputs)
    page = environment.get_template("page.html.j2").render(
        facts,
        note=options.note,
        receipt=receipt.to_json(),
        version=receipt.version,
        inputs=sorted(known.inputs.items()),
        on_disk=known.on_disk.total() if facts["removed"] is None else None,
    )
    return page.encode(errors="replace")  # a folder's name need not be UTF-8


def _number(value: float | None) -> str:
    """Write a count with thin spaces between thousands; an en dash when it is not known yet."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def _percent(part: float | None) -> str:
    """Write a share of 1 as per cent with one decimal."""
    if part is None:
        return "–"
    return f"{100 * part:.1f}\u202f%"


def _points(difference: float, unit: str = "\u202fpoints", sign: str = "+") -> str:
    """Write a difference of shares as percentage points with one decimal."""
    return f"{100 * difference:{sign}.1f}{unit}".replace("-", "\u2212")


def _share(part: float, whole: float) -> str:
    if not whole:
        return "–"
    return "< 0.1\u202f%" if 0 < part / whole < 0.0005 else _percent(part / whole)


def _size(value: int) -> str:
    return str(Bytes(value)).replace(" ", "\u202f")
