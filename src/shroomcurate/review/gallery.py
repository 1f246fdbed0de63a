"""What is known of each photo, a column each, in the order of their paths: what the page shows and the views sort.

A photo is a number, its place in that order. The numbers hold for one :class:`Gallery`; when the photos or the tables
change, there is a new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Dataset, damaged_table, read_receipt, read_table
from shroomcurate.runs import latest_run
from shroomcurate.tree import REASONS
from shroomcurate.verdicts import Verdict

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: Files whose change makes it another gallery, beside the photos themselves.
TABLES = ("selection.parquet", "downloads.parquet", "embeddings.parquet", "clean.parquet")

_NEEDED = {
    "clean": ("path", "kept", "reason", "score", "cluster", "decided_by", "duplicate_of"),
    "selection": ("photo_id", "license", "taxon_name", "attribution", "observation_uuid"),
    "predictions": ("path", "class", "predicted", "calibrated"),
}

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
    places
        Where it lies now; None when it is gone.
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
    clean_row, selection_row
        Row in the tables; -1 where they do not know it.
    """

    paths: list[str]
    places: list[str | None]
    classes: list[str]
    class_of: NDArray[np.int32]
    reason: NDArray[np.int8]
    score: NDArray[np.float32]
    cluster: NDArray[np.int32]
    original: NDArray[np.int64]
    applied: NDArray[np.int8]
    clean_row: NDArray[np.int64]
    selection_row: NDArray[np.int64]
    clean: pa.Table | None
    selection: pa.Table | None
    predictions: pa.Table | None
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
        seen = hashlib.sha256(f"{self.numbering} {sorted(self.stamp.items())}".encode())
        return int.from_bytes(seen.digest()[:6])  # JavaScript's integers have 53 bits

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each path."""
        return {path: number for number, path in enumerate(self.paths)}

    @cached_property
    def licences(self) -> list[str]:
        """The licences that the selection names, sorted."""
        import pyarrow.compute as pc

        return (
            sorted(pc.unique(self.selection["license"]).drop_null().to_pylist()) if self.selection is not None else []
        )

    @cached_property
    def predicted(self) -> dict[int, tuple[str, float]]:
        """Test photos that the baseline took for another class: number -> that class, and how sure it was, 0..1."""
        if self.predictions is None:
            return {}
        columns = (self.predictions[name].to_pylist() for name in ("path", "class", "predicted", "calibrated"))
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

    def row(self, table: pa.Table | None, row: int) -> dict[str, Any]:
        """Return one row of a table, empty when there is none."""
        if table is None or row < 0:
            return {}
        found: dict[str, Any] = table.slice(row, 1).to_pylist()[0]
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


def open_gallery(dataset: Dataset) -> Gallery:
    """Read the tables that are there, and look which photos lie where.

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
    clean = _table(dataset, "clean.parquet")
    selection = _table(dataset, "selection.parquet")
    run = latest_run(dataset)
    places = dataset.places()
    judged: list[str] = clean["path"].to_pylist() if clean is not None else []
    paths = sorted({*places, *judged})
    number = {path: each for each, path in enumerate(paths)}
    class_names = [path.split("/")[1] for path in paths]
    classes = sorted(set(class_names))
    class_number = {name: each for each, name in enumerate(classes)}
    rows = np.full(len(paths), -1, np.int64)
    rows[[number[path] for path in judged]] = np.arange(len(judged))
    receipt = read_receipt(dataset.path("clean.parquet")) if clean is not None else None
    return Gallery(
        paths=paths,
        places=[places[path][0] if path in places else None for path in paths],
        classes=classes,
        class_of=np.array([class_number[name] for name in class_names], np.int32),
        **_judgements(clean, rows, number),
        clean_row=rows,
        selection_row=_selection_rows(paths, selection),
        clean=clean,
        selection=selection,
        predictions=_table(dataset, f"runs/{run.name}/predictions.parquet") if run else None,
        run=run.name if run else None,
        stamp=then,
        left_alone=(receipt.options.get("left_alone") if receipt else None) or {},
    )


def _table(dataset: Dataset, name: str) -> pa.Table | None:
    """Return a table, None when it is not there; one that lacks a column that is asked for is damaged."""
    path = dataset.path(name)
    if not path.exists():
        return None
    table = read_table(path)
    for column in _NEEDED[path.stem]:
        if column not in table.column_names:
            raise damaged_table(path, ValueError(f"it lacks the column {column}"))
    return table


def _judgements(clean: pa.Table | None, rows: NDArray[np.int64], number: Mapping[str, int]) -> dict[str, Any]:
    """Return what the cleaning says of each photo."""
    import numpy as np

    size = len(rows)
    if clean is None:
        return {
            "reason": np.full(size, NOT_JUDGED, np.int8),
            "score": np.full(size, np.nan, np.float32),
            "cluster": np.full(size, -1, np.int32),
            "original": np.full(size, -1, np.int64),
            "applied": np.zeros(size, np.int8),
        }
    reasons = np.array([REASON_NUMBERS.get(reason, KEPT) for reason in clean["reason"].to_pylist()], np.int8)
    by_person = np.array([who == "person" for who in clean["decided_by"].to_pylist()], bool)
    originals = [number.get(path, -1) if path else -1 for path in clean["duplicate_of"].to_pylist()]
    return {
        "reason": _at(reasons, rows, NOT_JUDGED),
        "score": _at(clean["score"].to_numpy().astype(np.float32), rows, np.nan),
        "cluster": _at(clean["cluster"].to_numpy().astype(np.int32), rows, -1),
        "original": _at(np.array(originals, np.int64), rows, -1),
        "applied": _at(np.where(by_person, reasons + 1, 0).astype(np.int8), rows, 0),
    }


def _at(values: NDArray[Any], rows: NDArray[np.int64], unknown: float) -> NDArray[Any]:
    """Return the values in these rows, and another one where the row is -1."""
    import numpy as np

    found = np.full(len(rows), unknown, values.dtype)
    found[rows >= 0] = values[rows[rows >= 0]]
    return found


def _selection_rows(paths: Sequence[str], selection: pa.Table | None) -> NDArray[np.int64]:
    """Return each photo's row in the selection, by the photo id that its file is named after."""
    import numpy as np

    rows = np.full(len(paths), -1, np.int64)
    if selection is None:
        return rows
    row_of = {photo_id: row for row, photo_id in enumerate(selection["photo_id"].to_pylist())}
    for number, path in enumerate(paths):
        stem, _, _ = path[path.rindex("/") + 1 :].rpartition(".")  # pathlib takes ten times as long
        if stem.isdecimal():
            rows[number] = row_of.get(int(stem), -1)
    return rows
