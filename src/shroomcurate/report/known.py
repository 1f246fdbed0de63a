"""What the report reads, each file once: the dataset's tables as Arrow columns, its receipts, its newest run.

A quarter of a million photos are counted column by column; a row becomes an object only where a photo is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.dataset import (
    WRITTEN_BY,
    Dataset,
    Receipt,
    printable,
    read_receipt,
    read_table,
)
from shroomcurate.receipts import changed_inputs
from shroomcurate.tree import REASONS
from shroomcurate.verdicts import digest, read_verdicts

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]

_SELECTION = (
    *("photo_id", "observation_uuid", "observer_id", "class", "class_name", "role", "license", "attribution"),
    *("latitude", "longitude", "observed_on"),
)
_CLEAN = ("path", "photo_id", "class", "kept", "reason", "score", "decided_by", "duplicate_of")

#: What makes a file anew; `restore` writes the cleaning's table too.
_REMADE_BY = {**WRITTEN_BY, "clean.parquet": "clean or restore", "splits.parquet": "split"}

#: Section -> the table that it shows, in the order in which they are made.
_TABLES = {"downloads": "downloads.parquet", "removed": "clean.parquet", "split": "splits.parquet"}


class Offered(NamedTuple):
    """The photos that the dataset offers."""

    words: str
    """Which those are: ``kept`` once there was a cleaning, before it ``on disk``, before any photo ``wanted``."""
    rows: pa.Table
    """``path`` and the columns of the selection, null where the selection does not know the photo. Sorted by path."""


class Known:
    """The dataset's tables, None where one is not there."""

    def __init__(self, dataset: Dataset) -> None:
        from shroomcurate.runs import latest_run, read_metrics

        self.dataset = dataset
        self._hashes: dict[str, str | None] = {}
        self.run = latest_run(dataset)
        self.metrics = read_metrics(self.run) if self.run else None

    def _table(self, name: str, *columns: str) -> pa.Table | None:
        path = self.dataset.path(name)
        return read_table(path, list(columns)).combine_chunks() if path.exists() else None

    @cached_property
    def selection(self) -> pa.Table | None:
        """Wanted photos and the reserve."""
        return self._table("selection.parquet", *_SELECTION)

    @cached_property
    def other_observations(self) -> pa.ChunkedArray:
        """Further observations that each photo of the selection stands in, UUIDs joined by a space."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path, name = self.dataset.path("selection.parquet"), "other_observations"
        if name in pq.read_schema(path).names:
            return read_table(path, [name])[name]
        return pa.chunked_array([pa.nulls(len(self.selection or ()), pa.string())])  # of an earlier version

    @cached_property
    def downloads(self) -> pa.Table | None:
        """Photos asked for."""
        return self._table("downloads.parquet", "photo_id", "class", "status", "role", "bytes")

    @cached_property
    def clean(self) -> pa.Table | None:
        """Photos judged; a score that is not known counts as 0."""
        table = self._table("clean.parquet", *_CLEAN)
        if table is None:
            return None
        return table.set_column(table.column_names.index("score"), "score", table["score"].fill_null(0.0))

    @cached_property
    def splits(self) -> pa.Table | None:
        """Photos of the clean set."""
        return self._table("splits.parquet", "path", "class", "split", "fold", "group")

    @cached_property
    def predictions(self) -> pa.Table | None:
        """What the newest run says of each test photo; None when it left nothing of the kind."""
        file = self.run / "predictions.parquet" if self.run else None
        if file is None or not file.exists():
            return None
        return read_table(file, ["path", "class", "predicted", "calibrated"]).combine_chunks()

    @cached_property
    def photos(self) -> dict[str, Path]:
        """Photos on disk, as :meth:`Dataset.photos` gives them. Looks at every file: seconds where there are many."""
        return {printable(path): place for path, place in self.dataset.photos().items()}

    @cached_property
    def on_disk(self) -> Counter[str]:
        """How many photos lie on disk of each class, kept or removed."""
        return Counter(path.split("/")[1] for path in self.photos)

    def place(self, path: str, reason: str | None = None) -> Path | None:
        """Return where a photo lies, wherever it was put; None when it is nowhere.

        Parameters
        ----------
        path
            Its identity. What does not look like one may point out of the dataset, and is nowhere.
        reason
            Why it was removed, by the table; looked at first.
        """
        parts = PurePosixPath(path).parts
        if len(parts) != 3 or parts[0] != self.dataset.images.name or ".." in parts:
            return None
        told = reason if reason in REASONS else None
        places = (self.dataset.locate(path, where) for where in (told, None, *REASONS))
        return next((place for place in places if place.is_file()), None)

    def select_at(self, paths: pa.Array) -> pa.Table | None:
        """Return the selection's row of each of these photos, in their order; a row of nulls where it has none."""
        return None if self.selection is None else self.rows_of(self.selection, paths)

    @staticmethod
    def rows_of(selection: pa.Table, paths: pa.Array) -> pa.Table:
        """Return the row of each of these photos; a row of nulls where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        # A photo's file is named after it. 18 digits fit 64 bits.
        stems = pc.extract_regex(paths, r"/(?P<id>[0-9]{1,18})\.[^/]*$")
        ids = pc.struct_field(stems, "id").cast(pa.int64())
        return selection.take(pc.index_in(ids, value_set=selection["photo_id"]))

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows that have a ``path`` together with what the selection knows of each photo."""
        import pyarrow as pa

        selected = self.select_at(pa.array([row["path"] for row in rows], pa.string()))
        if selected is None:
            return [{**row, "photo_id": None} for row in rows]
        return [
            {**facts, **row, "photo_id": facts["photo_id"]}
            for row, facts in zip(rows, selected.to_pylist(), strict=True)
        ]

    @cached_property
    def offered(self) -> Offered | None:
        """The photos that the dataset offers; None when no selection describes them."""
        import pyarrow as pa

        selection = self.selection
        if selection is None:
            return None
        if self.clean is not None:
            words, paths = "kept", self.clean.filter(self.clean["kept"])["path"].combine_chunks()
        elif self.photos:
            words, paths = "on disk", pa.array(self.photos, pa.string())
        else:
            wanted = where(selection, "role", "wanted")
            return Offered("wanted", wanted.append_column("path", pa.nulls(len(wanted), pa.string())))
        return Offered(words, self.rows_of(selection, paths).append_column("path", paths).sort_by("path"))

    @cached_property
    def receipts(self) -> dict[str, Receipt]:
        """Receipts of the tables that are there, and of the newest run's predictions."""
        paths = {name: self.dataset.path(name) for name in WRITTEN_BY}
        if self.run:
            paths[f"runs/{self.run.name}/predictions.parquet"] = self.run / "predictions.parquet"
        found = {name: read_receipt(path) for name, path in paths.items() if path.exists()}
        return {name: receipt for name, receipt in found.items() if receipt}

    @cached_property
    def inputs(self) -> dict[str, str]:
        """What the page is made from -> sha256, '' for what was not there. The photos themselves are not hashed."""
        names = [name for name in WRITTEN_BY if name != "embeddings.parquet"]
        if self.run:
            names.append(f"runs/{self.run.name}/metrics.json")
        return {name: self.hash_now(name) or "" for name in names}

    def hash_now(self, name: str) -> str | None:
        """Return the same as :meth:`Dataset.hash_now`, each computed once."""
        if name not in self._hashes:
            self._hashes[name] = self.dataset.hash_now(name)
        return self._hashes[name]

    @cached_property
    def left_alone(self) -> list[tuple[str, str]]:
        """Classes whose noise the cleaning did not judge, and why."""
        receipt = self.receipts.get("clean.parquet")
        found = receipt.options.get("left_alone") if receipt else None
        return sorted((name.replace("_", " "), why) for name, why in (found or {}).items())

    @cached_property
    def verdicts(self) -> str | None:
        """What people have decided, as a hash."""
        return digest(read_verdicts(self.dataset))


def outdated(known: Known) -> dict[str, str]:
    """Return section -> what was done since its figures were made, and the command that makes them anew.

    A section is out of date when a file that it was made from has other bytes now, or is itself out of date.
    """
    made_from = {name: known.receipts[file].inputs for name, file in _TABLES.items() if file in known.receipts}
    if known.metrics is not None:
        made_from["baseline"] = known.metrics.get("inputs") or {}
    found: dict[str, str] = {}
    for name, inputs in made_from.items():
        since = {_REMADE_BY.get(change.name, change.name) for change in changed_inputs(inputs, known.hash_now)}
        if name == "removed" and known.receipts["clean.parquet"].options.get("verdicts") != known.verdicts:
            since.add("verdict")
        if since:
            made = "measured" if name == "baseline" else "made"
            found[name] = f"{made} before the last {' and the last '.join(sorted(since))}"
        elif name in ("split", "baseline") and found:
            found[name] = "what it was made from is out of date"
    return found


def counted(table: pa.Table, column: str) -> Counter[str]:
    """Return how many rows each value of a text column has; nulls are left out."""
    found = table[column].drop_null().value_counts()
    return Counter(dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))


def where(table: pa.Table, column: str, value: object) -> pa.Table:
    """Return the rows of a table whose column has this value."""
    import pyarrow.compute as pc

    return table.filter(pc.equal(table[column], value))
