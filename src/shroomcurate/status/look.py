"""What is read for one answer, each thing once, and by columns: a dataset may have a quarter of a million photos."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.dataset import WRITTEN_BY, Dataset, Receipt, file_hash, printable, read_receipt, read_table
from shroomcurate.errors import DamagedFile
from shroomcurate.locks import lock_holder
from shroomcurate.photos import NotAPhoto, check_photo, photo_bytes
from shroomcurate.progress import Progress
from shroomcurate.receipts import changed_inputs
from shroomcurate.tree import REASONS, class_files
from shroomcurate.verdicts import Verdict, read_verdicts

if TYPE_CHECKING:
    import pyarrow as pa

#: What `query`, `download` and the rest made, as the beginning of a sentence.
_SUBJECTS = {
    "selection.parquet": "the selection is",
    "downloads.parquet": "the downloads are",
    "embeddings.parquet": "the embeddings are",
    "clean.parquet": "the cleaning is",
    "splits.parquet": "the split is",
}

#: What `download` has done so far, until its table is written.
JOURNAL = ".downloads.journal"


class Whole(NamedTuple):
    """Of the photos that came: those without a file, those with one of another length, and those cleaned out."""

    lost: int
    other: int
    taken_out: Mapping[str, int]
    """Class -> photos."""


class Look:
    """A dataset, as it is while one answer is made. Use it as a context: it hashes in the background."""

    def __init__(self, dataset: Dataset, progress: Progress) -> None:
        self.dataset = dataset
        self.bytes: dict[str, int] = {}
        """Of each of :attr:`photos`. Two dictionaries of plain values: a quarter of a million tuples take a second."""
        self._progress = progress
        self._hashing = ThreadPoolExecutor(1)
        self._hashes: dict[str, Future[str]] = {}

    def __enter__(self) -> Look:
        for name in WRITTEN_BY:  # embeddings of 2 GB take seconds, in which the folders can be read
            if self.has(name):
                self._hash(name)
        return self

    def __exit__(self, *_: object) -> None:
        self._hashing.shutdown(cancel_futures=True)

    @cached_property
    def photos(self) -> dict[str, str | None]:
        """Every photo that :meth:`Dataset.photos` finds: identity -> why it was removed, None while it is kept."""
        found: dict[str, str | None] = {}
        expected, seen = self._expected(), ""
        for reason in [*sorted(REASONS), None]:
            tree = self.dataset.images if reason is None else self.dataset.removed / reason
            for class_name, file in class_files(tree):
                if class_name != seen:
                    seen = class_name
                    self._progress(len(found), max(expected, len(found) + 1), "look at the photos")
                path = f"{self.dataset.images.name}/{class_name}/{file.name}"
                with contextlib.suppress(OSError):  # gone this moment
                    self.bytes[path] = file.stat().st_size
                    found[path] = reason
        self._progress(len(found), len(found), "look at the photos")
        return found

    def _expected(self) -> int:
        """Return how many photos the tables speak of, for the bar: the folders may hold more, or fewer."""
        for name in ("clean.parquet", "downloads.parquet"):
            if self.has(name):
                with contextlib.suppress(DamagedFile):
                    return len(self.table(name, "path"))
        return 0

    @cached_property
    def at_work(self) -> str | None:
        """Which command writes to the dataset now."""
        return lock_holder(self.dataset.root)

    @cached_property
    def foreign(self) -> bool:
        """Whether the photos came from elsewhere: there are some, and nothing was ever selected or fetched."""
        ours = any(self.has(name) for name in ("selection.parquet", "downloads.parquet", JOURNAL))
        return not ours and bool(self.photos)

    @cached_property
    def only_of_a_lock(self) -> bool:
        """Whether the photos are those of a lock, and nobody has judged them here."""
        with contextlib.suppress(DamagedFile):
            receipt = self.receipt("selection.parquet") if self.has("selection.parquet") else None
            return receipt is not None and "lock" in receipt.options and not self.has("clean.parquet")
        return False

    @cached_property
    def downloads(self) -> pa.Table:
        """What ``downloads.parquet`` says of each photo."""
        return self.table("downloads.parquet", "class", "role", "status", "path", "bytes")

    @cached_property
    def whole(self) -> Whole:
        """What lies on disk of the photos that came."""
        import pyarrow.compute as pc

        table = self.downloads.filter(pc.equal(self.downloads["status"], "ok"))
        lost = other = 0
        taken_out: dict[str, int] = {}
        for name, path, size in zip(*(table[each].to_pylist() for each in ("class", "path", "bytes")), strict=True):
            if path not in self.photos:
                lost += 1
                continue
            other += size not in (None, self.bytes[path])
            if self.photos[path]:
                taken_out[name] = taken_out.get(name, 0) + 1
        return Whole(lost, other, taken_out)

    @cached_property
    def not_judged(self) -> list[str]:
        """The photos on disk of which ``clean.parquet`` says nothing and that `clean` would judge."""
        unknown = self.photos.keys() - set(self.table("clean.parquet", "path")["path"].to_pylist())
        # `clean` leaves those alone that do not decode, or whose names are not UTF-8.
        new = [path for path in unknown if printable(path) == path]
        return new if any(_decodes(self.dataset.locate(path, self.photos[path])) for path in new) else []

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict]:
        """What ``verdicts.csv`` says."""
        return read_verdicts(self.dataset)

    @cached_property
    def selected(self) -> Mapping[tuple[str, str], int]:
        """(class, role) -> photos of the selection; empty where there is none."""
        return self.counts("selection.parquet", "class", "role") if self.has("selection.parquet") else {}

    def has(self, name: str) -> bool:
        """Tell whether a file of the dataset is there."""
        return self.dataset.path(name).exists()

    def table(self, name: str, *columns: str) -> pa.Table:
        """Return some columns of a table."""
        return read_table(self.dataset.path(name), list(columns))

    def counts(self, name: str, *columns: str) -> dict[Any, int]:
        """Return how many rows of a table have which values in these columns, a tuple of them if several."""
        return count(self.table(name, *columns), *columns)

    def receipt(self, name: str) -> Receipt | None:
        """Return the receipt of a table."""
        return read_receipt(self.dataset.path(name))

    def receipt_of_page(self) -> dict[str, Any]:
        """Return the receipt inside ``report.html``.

        Raises
        ------
        ValueError
            It holds none.
        """
        return _receipt_in(self.dataset.path("report.html"))

    def made_from(self, name: str) -> list[str]:
        """Say what has changed since a table was made, in the way of :meth:`Dataset.refuse_stale`."""
        receipt = self.receipt(name)
        if receipt is None or not receipt.inputs:
            return []
        return self.changes(receipt.inputs, also=("selection.parquet",))

    def changes(self, inputs: Mapping[str, str], also: tuple[str, ...] = ()) -> list[str]:
        """Say which of a receipt's inputs are not what they were."""
        found = changed_inputs(inputs, self._hash_now, also=also)
        return [f"{_SUBJECTS.get(each.name, f'{each.name} is')} {'gone' if each.gone else 'newer'}" for each in found]

    def _hash_now(self, name: str) -> str | None:
        try:
            return self._hash(name).result() if self.has(name) else None
        except FileNotFoundError:  # gone this moment
            return None

    def _hash(self, name: str) -> Future[str]:
        if name not in self._hashes:
            self._hashes[name] = self._hashing.submit(file_hash, self.dataset.path(name))
        return self._hashes[name]


def count(table: pa.Table, *columns: str) -> dict[Any, int]:
    """Return how many rows have which values in these columns, a tuple of them if several."""
    grouped = table.select(columns).group_by(list(columns)).aggregate([([], "count_all")])
    values = [grouped[name].to_pylist() for name in columns]
    keys = values[0] if len(columns) == 1 else zip(*values, strict=True)
    return dict(zip(keys, grouped["count_all"].to_pylist(), strict=True))


def _receipt_in(page: Path) -> dict[str, Any]:
    """Return the receipt that a report holds in ``<meta name="shroomcurate-receipt">``."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            attributes = dict(attrs)
            if tag == "meta" and attributes.get("name") == "shroomcurate-receipt":
                found.append(attributes.get("content") or "")

    with page.open(encoding="utf-8") as handle:
        Reader().feed(handle.read(100_000))  # it stands in the head, before any photo
    if not found:
        raise ValueError("it holds no receipt")
    receipt: Any = json.loads(found[0])
    if not isinstance(receipt, dict) or not isinstance(receipt.get("inputs"), dict):
        raise ValueError("its receipt names no inputs")
    return receipt


def _decodes(place: Path) -> bool:
    try:
        check_photo(photo_bytes(place))
    except (NotAPhoto, OSError):
        return False
    return True
