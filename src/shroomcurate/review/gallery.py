"""What is known of each photo, a column each, in the order of their paths: what the page shows and the views sort.

A photo is a number, its place in that order. The numbers hold for one :class:`Gallery`; when the photos or the tables
change, there is a new one. Of the tables only what the wall shows is read at once; the rest when it is first asked for.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Dataset, read_receipt
from shroomcurate.review.lasting import LastingTable, open_table
from shroomcurate.runs import latest_run
from shroomcurate.tree import REASONS
from shroomcurate.verdicts import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

#: Files whose change makes it another gallery, beside the photos themselves.
TABLES = ("selection.parquet", "downloads.parquet", "embeddings.parquet", "clean.parquet")

_NEEDED = {
    "clean": ("path", "kept", "reason", "score", "cluster", "decided_by", "duplicate_of"),
    "selection": ("photo_id", "license", "taxon_name", "attribution", "observation_uuid"),
    "predictions": ("path", "class", "predicted", "calibrated"),
}

#: Photos from which on a table is believed first and the folders are listed afterwards.
_MANY = 10_000

KEPT, NOT_JUDGED = 0, -1
"""What stands for a reason's number where there is none."""

REASON_NUMBERS = {reason: number for number, reason in enumerate(REASONS, start=1)}


def verdict_code(verdict: Verdict | None) -> int:
    """Return a verdict as a number: 0 none, 1 keep, 1 + k remove because of reason number k."""
    if verdict is None:
        return 0
    return 1 if verdict.reason is None else 1 + REASON_NUMBERS[verdict.reason]


@dataclass(frozen=True)
class Gallery:
    """The photos of a dataset and what the tables say of them; unknown where a table is not there.

    Attributes
    ----------
    paths
        Identity of each photo, sorted.
    gone
        Numbers of those that are not on disk any more.
    is_listed
        Whether the folders were looked at; otherwise it is believed that there are just the photos of the table.
    class_of
        Shape (photos,): number in `classes`.
    reason
        Number in REASON_NUMBERS; :data:`KEPT`, or :data:`NOT_JUDGED`.
    score
        0..1, NaN where unknown.
    cluster
        0 the largest of its class; -1 is noise, or unknown.
    original
        Number of the photo that it duplicates; -1 for none.
    applied
        The verdict, as :func:`verdict_code`, that the last cleaning went by.
    clean_row
        Row in the table; -1 where it does not know it.
    """

    paths: list[str]
    gone: frozenset[int]
    is_listed: bool
    classes: list[str]
    class_of: NDArray[np.int32]
    reason: NDArray[np.int8]
    score: NDArray[np.float32]
    cluster: NDArray[np.int32]
    original: NDArray[np.int64]
    applied: NDArray[np.int8]
    clean_row: NDArray[np.int64]
    clean: LastingTable | None
    selection: LastingTable | None
    predictions: LastingTable | None
    run: str | None
    stamp: Mapping[str, Any]
    left_alone: Mapping[str, str] = field(default_factory=dict)
    """Class whose noise was not judged -> why."""
    before: Mapping[str, int] = field(default_factory=dict)
    """Path -> reason number that the cleaning before this one had found, as far as it was seen."""

    @cached_property
    def numbering(self) -> str:
        """What tells whether the numbers of another gallery are those of the same photos."""
        return hashlib.sha256("\n".join(self.paths).encode(errors="surrogateescape")).hexdigest()

    @cached_property
    def generation(self) -> int:
        """What tells this gallery from others, also after a restart: the same photos and tables have the same."""
        seen = hashlib.sha256(f"{self.numbering} {sorted(self.gone)} {sorted(self.stamp.items())}".encode())
        return int.from_bytes(seen.digest()[:6])  # JavaScript's integers have 53 bits

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each path."""
        return {path: number for number, path in enumerate(self.paths)}

    @cached_property
    def licences(self) -> list[str]:
        """The licences that the selection names, sorted."""
        return sorted(self.selection.words("license")) if self.selection is not None else []

    @cached_property
    def selection_row(self) -> NDArray[np.int64]:
        """Each photo's row in the selection, by the photo id that its file is named after; -1 where there is none."""
        import numpy as np

        rows = np.full(len(self.paths), -1, np.int64)
        if self.selection is None:
            return rows
        row_of = {photo_id: row for row, photo_id in enumerate(self.selection.whole["photo_id"].to_pylist())}
        for number, path in enumerate(self.paths):
            stem, _, _ = path[path.rindex("/") + 1 :].rpartition(".")  # pathlib takes ten times as long
            if stem.isdecimal():
                rows[number] = row_of.get(int(stem), -1)
        return rows

    @cached_property
    def predicted(self) -> dict[int, tuple[str, float]]:
        """Test photos that the baseline took for another class: number -> that class, and how sure it was, 0..1."""
        if self.predictions is None:
            return {}
        columns = (self.predictions.whole[name].to_pylist() for name in ("path", "class", "predicted", "calibrated"))
        return {
            self.number[path]: (predicted, sure)
            for path, truth, predicted, sure in zip(*columns, strict=True)
            if path in self.number and truth != predicted
        }

    @cached_property
    def duplicate_groups(self) -> list[list[int]]:
        """The photos that are the same, as connected by ``duplicate_of``; in each group the one kept first."""
        import numpy as np

        groups: dict[int, list[int]] = {}
        for number in np.flatnonzero(self.original >= 0).tolist():
            original = int(self.original[number])
            one, other = groups.setdefault(number, [number]), groups.setdefault(original, [original])
            if one is not other:
                one.extend(other)
                for each in other:
                    groups[each] = one
        unique = {id(group): group for group in groups.values()}
        stays = self.reason == KEPT
        return [sorted(group, key=lambda number: (not stays[number], number)) for group in unique.values()]

    def codes(self, verdicts: Mapping[str, Verdict]) -> NDArray[np.int8]:
        """Return each photo's verdict as :func:`verdict_code`."""
        import numpy as np

        codes = np.zeros(len(self.paths), np.int8)
        for path, verdict in verdicts.items():
            if path in self.number:
                codes[self.number[path]] = verdict_code(verdict)
        return codes

    def place(self, dataset: Dataset, number: int) -> Path:
        """Return where a photo lies at this moment; cleaning may have moved it since.

        Raises
        ------
        FileNotFoundError
            It is not there any more.
        """
        judged = int(self.reason[number])
        for reason in (None, *([list(REASONS)[judged - 1]] if judged > KEPT else []), *REASONS):
            place = dataset.locate(self.paths[number], reason)
            if place.is_file():
                return place
        raise FileNotFoundError(self.paths[number])

    def row(self, table: LastingTable | None, row: int) -> dict[str, Any]:
        """Return one row of a table, empty when there is none."""
        if table is None or row < 0:
            return {}
        found: dict[str, Any] = table.whole.slice(row, 1).to_pylist()[0]
        # JSON knows no NaN.
        return {
            name: None if isinstance(value, float) and not isfinite(value) else value for name, value in found.items()
        }


def stamp(dataset: Dataset) -> dict[str, Any]:
    """Return what tells whether the tables are still those of a gallery: size and time of each, and the newest run."""
    found: dict[str, Any] = {}
    for name in TABLES:
        try:
            facts = dataset.path(name).stat()
            found[name] = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
        except FileNotFoundError:
            found[name] = None
    run = latest_run(dataset)
    found["run"] = (run.name, run.stat().st_mtime_ns) if run else None
    return found


def open_gallery(dataset: Dataset, *, at_once: bool = False) -> Gallery:
    """Read the tables that are there, and look which photos there are.

    Parameters
    ----------
    at_once
        Believe a table of many photos that they are there: to list the folders of 100,000 takes a fifth of a second.

    Raises
    ------
    StageMissing, SourceMissing
        There is no photo.
    BadOption
        The tables are those of another tree.
    DamagedFile
        A table cannot be read.
    """
    import numpy as np

    dataset.require_photos()
    dataset.refuse_other_tree()
    then = stamp(dataset)
    clean = open_table(dataset.path("clean.parquet"), _NEEDED["clean"], words=("reason", "decided_by"))
    run = latest_run(dataset)
    judged: list[Any] = clean.texts("path") if clean is not None else []
    is_listed = not at_once or len(judged) < _MANY
    there = dataset.places().keys() if is_listed else judged
    paths = sorted({*there, *judged} if is_listed else judged)
    number = {} if paths == judged else {path: each for each, path in enumerate(paths)}
    rows = np.full(len(paths), -1, np.int64)
    rows[[number[path] for path in judged] if number else slice(None)] = np.arange(len(judged))
    receipt = read_receipt(dataset.path("clean.parquet")) if clean is not None else None
    classes, class_of = _classes(paths)
    gallery = Gallery(
        paths=paths,
        gone=frozenset(each for each, path in enumerate(paths) if path not in there) if is_listed else frozenset(),
        is_listed=is_listed,
        classes=classes,
        class_of=class_of,
        **_judgements(clean, rows),
        original=np.full(len(paths), -1, np.int64),
        clean_row=rows,
        clean=clean,
        selection=open_table(dataset.path("selection.parquet"), _NEEDED["selection"], words=("license",)),
        predictions=open_table(run / "predictions.parquet", _NEEDED["predictions"]) if run else None,
        run=run.name if run else None,
        stamp=then,
        left_alone=(receipt.options.get("left_alone") if receipt else None) or {},
    )
    _fill_originals(gallery)
    return gallery


def _classes(paths: Sequence[str]) -> tuple[list[str], NDArray[np.int32]]:
    """Return the names of the classes, sorted, and the number of each photo's; photos of one class stand together."""
    import numpy as np

    ends: dict[str, int] = {}
    end = 0
    while end < len(paths):
        tree, name, _ = paths[end].split("/", 2)
        end = bisect_left(paths, f"{tree}/{name}0", end + 1)  # 0 follows the slash
        ends[name] = end
    classes = sorted(ends)
    number = {name: each for each, name in enumerate(classes)}
    sizes = np.diff([0, *ends.values()])
    return classes, np.repeat(np.array([number[name] for name in ends], np.int32), sizes)


def _judgements(clean: LastingTable | None, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return what the cleaning says of each photo."""
    import numpy as np

    size = len(rows)
    if clean is None:
        return {
            "reason": np.full(size, NOT_JUDGED, np.int8),
            "score": np.full(size, np.nan, np.float32),
            "cluster": np.full(size, -1, np.int32),
            "applied": np.zeros(size, np.int8),
        }
    reasons = clean.coded("reason", REASON_NUMBERS, KEPT)
    by_person = clean.coded("decided_by", {"person": 1}, 0) == 1
    return {
        "reason": _at(reasons, rows, NOT_JUDGED),
        "score": _at(clean.numbers("score", np.nan, np.float32), rows, np.nan),
        "cluster": _at(clean.numbers("cluster", -1, np.int32), rows, -1),
        "applied": _at(np.where(by_person, reasons + 1, 0).astype(np.int8), rows, 0),
    }


def _fill_originals(gallery: Gallery) -> None:
    """Put down of which photo each is a duplicate."""
    originals = gallery.clean.texts("duplicate_of") if gallery.clean is not None else []
    if any(originals):
        for number, row in enumerate(gallery.clean_row.tolist()):
            if row >= 0 and originals[row]:
                gallery.original[number] = gallery.number.get(originals[row], -1)


def _at(values: NDArray[Any], rows: NDArray[np.int64], unknown: float) -> NDArray[Any]:
    """Return the values in these rows, and another one where the row is -1."""
    import numpy as np

    found = np.full(len(rows), unknown, values.dtype)
    found[rows >= 0] = values[rows[rows >= 0]]
    return found
