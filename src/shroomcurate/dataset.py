"""The dataset directory: where everything lies, how it is written, and where it came from.

A path in a table (``images/Amanita_muscaria/123.jpg``) is the photo's identity: the place, relative to the
dataset, where it lies while it is kept. :meth:`Dataset.locate` finds it wherever cleaning has put it.

Every write is atomic: a temporary file beside the target, fsync, one rename. A reader sees the old file or the
new one; a killed stage leaves at most a ``*.partial``, which nothing reads and the next run sweeps away.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate import __version__
from shroomcurate.errors import BadOption, DamagedFile, SourceMissing, StageMissing, disk_full_named
from shroomcurate.locks import folder_lock
from shroomcurate.receipts import changed_inputs
from shroomcurate.tree import PARTIAL, REASONS, class_files, outermost_paths

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_RECEIPT_KEY = b"shroomcurate"

#: Which command writes which file, in pipeline order: the hint of every 'missing' message, and `status`.
WRITTEN_BY = {
    "selection.parquet": "query",
    "downloads.parquet": "download",
    "embeddings.parquet": "clean",
    "clean.parquet": "clean",
    "splits.parquet": "train-baseline",
}


class Column(NamedTuple):
    """One column of a table: its name, its Arrow type as text, and what it means to a user."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class Receipt:
    """How a file came to be. Holds no time and no path, so that the same work gives the same bytes."""

    stage: str
    options: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    """File name, relative to the dataset -> sha256 of its bytes when it was read."""
    version: str = __version__

    def to_json(self) -> str:
        """Return the receipt as one line of JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, default=str)


def asked_per_class(selection: Receipt | None) -> int | None:
    """Return how many photos of each class `query` was asked for, by the selection's receipt; None where it is mute."""
    asked = selection.options.get("per_class") if selection else None
    return asked if isinstance(asked, int) else None


class Dataset:
    """A directory with everything about one selection of photos.

    Parameters
    ----------
    root
        The directory; created by the first stage that writes into it.
    images
        A class-folder tree that somebody else made, ``<images>/<Class>/*.jpg``. Its tables are then written beside
        it, in its parent folder, and ``root`` is ignored.
    """

    def __init__(self, root: str | os.PathLike[str] = "dataset", images: str | os.PathLike[str] | None = None) -> None:
        # Not resolve(), for a linked folder is called as its link is.
        self.images = Path(os.path.abspath(images if images is not None else Path(root) / "images"))  # noqa: PTH100
        self.root = self.images.parent
        self.foreign = images is not None

    def __repr__(self) -> str:
        return f"Dataset({str(self.root)!r})"

    @property
    def option(self) -> str:
        """The option that names this dataset on the command line, for hints."""
        name, where = ("--images", self.images) if self.foreign else ("--dataset", self.root)
        return f"{name} {shlex.quote(str(where))}"

    @cached_property
    def removed(self) -> Path:
        """The folder of what cleaning took out, ``removed/<reason>/<Class>/<file>``, to be looked at and restored."""
        return self.root / "removed"

    def path(self, name: str) -> Path:
        """Return the absolute path of a file of the dataset, such as ``selection.parquet``."""
        return self.root / name

    def locate(self, path: str, reason: str | None) -> Path:
        """Return where a photo lies.

        Parameters
        ----------
        path
            The photo's identity, ``images/<Class>/<file>``.
        reason
            Why it was removed; None while it is kept, or what a data frame has for that.
        """
        if not isinstance(reason, str):
            return self.root / path
        return self.removed / reason / Path(path).relative_to(self.images.name)

    def photos(self) -> dict[str, Path]:
        """Return every photo on disk, kept or removed: identity -> where it lies, sorted by identity.

        Removed are those in a tree named after one of :data:`shroomcurate.tree.REASONS`. Hidden files and folders and
        ``*.partial`` hold no photos. A file that stands in both places counts once, as kept.
        """
        return {path: Path(place) for path, (place, _) in self.places().items()}

    def places(self) -> dict[str, tuple[str, str | None]]:
        """Return the same as text, several times faster: identity -> where it lies, and why it was removed."""
        found: dict[str, tuple[str, str | None]] = {}
        for reason in (*sorted(REASONS), None):
            tree = self.images if reason is None else self.removed / reason
            for class_name, file in class_files(tree):
                found[f"{self.images.name}/{class_name}/{file.name}"] = (file.path, reason)
        return dict(sorted(found.items()))

    def frame(self, name: str) -> pd.DataFrame:
        """Return a table of the dataset, such as ``selection.parquet``, as a pandas data frame.

        Raises
        ------
        StageMissing
            It is not there yet.

        Examples
        --------
        >>> Dataset("dataset").frame("downloads.parquet").status.value_counts()  # doctest: +SKIP
        """
        frame: pd.DataFrame = read_table(self.require(name)).to_pandas()
        return frame

    def require(self, name: str) -> Path:
        """Return the path of a file that an earlier stage wrote.

        Raises
        ------
        StageMissing
            It is not there; the hint names the command that writes it.
        """
        path = self.path(name)
        if not path.exists():
            if name not in WRITTEN_BY:
                raise BadOption(f"A dataset has no table {name!r}.", f"Its tables are: {', '.join(WRITTEN_BY)}.")
            command = WRITTEN_BY[name]
            raise StageMissing(
                f"There is no {name} in {self.root}.",
                f"Type this first: shroomcurate {command} {self.option}",
            )
        return path

    def require_photos(self) -> None:
        """Refuse to work where there is no photo, kept or removed.

        Raises
        ------
        StageMissing
            Nothing has been downloaded.
        SourceMissing
            The tree that somebody else made is not there, or holds no class folders with files.
        """
        if self.foreign and not self.images.is_dir():
            raise SourceMissing(f"There is no folder {self.images}.", "Give a folder of class folders: DIR/CLASS/*.jpg")
        if any(class_files(self.images)) or self.places():
            return
        if self.foreign:
            raise SourceMissing(
                f"There is no photo in {self.images}.", "Give a folder of class folders: DIR/CLASS/*.jpg"
            )
        raise StageMissing(
            f"There is no photo in {self.root}.", f"Type this first: shroomcurate download {self.option}"
        )

    def refuse_other_tree(self) -> None:
        """Refuse tables that describe another tree in the same parent folder, and so share its ``removed/``.

        Raises
        ------
        BadOption
            A table holds photos of another tree.
        """
        for name in ("embeddings.parquet", "clean.parquet"):
            for path in outermost_paths(self.path(name)):
                if not path.startswith(f"{self.images.name}/"):
                    raise BadOption(
                        f"{self.root} holds the tables of another tree {path.split('/')[0]!r}, "
                        f"not of {self.images.name!r}.",
                        "Give each tree a parent folder of its own.",
                    )

    def refuse_stale(self, name: str) -> None:
        """Refuse a table that was made from other files than those that are here now. A missing table is not stale.

        Embeddings that are gone do no harm: nothing in the table is wrong without them.

        Raises
        ------
        StageMissing
            The message names both, the hint the command that makes the table anew.
        """
        receipt = read_receipt(self.path(name)) if self.path(name).exists() else None
        if receipt is None or not receipt.inputs:
            return
        for change in changed_inputs(receipt.inputs, self.hash_now, also=("selection.parquet",)):
            raise StageMissing(
                f"{name} was made from another {change.name}.", f"Type: shroomcurate {WRITTEN_BY[name]} {self.option}"
            )

    def hash_now(self, name: str) -> str | None:
        """Return the sha256 of a file of the dataset, None when it is not there."""
        path = self.path(name)
        return file_hash(path) if path.exists() else None

    def lock(self, stage: str) -> AbstractContextManager[None]:
        """Keep other commands from writing to this dataset meanwhile. See :func:`folder_lock`."""
        return folder_lock(self.root, stage)


# -- writing ---------------------------------------------------------------------------------------------------


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside the target to write to; on success it becomes the target by one rename.

    On an exception the temporary file is removed and the target is as before.

    Raises
    ------
    DiskFull
        No room; the target is as before.
    """
    partial = target.with_name(target.name + PARTIAL)
    try:
        with disk_full_named(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            with partial.open("rb") as handle:
                os.fsync(handle.fileno())
            partial.replace(target)
            sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file atomically. See :func:`atomic_path`."""
    with atomic_path(target) as partial:
        partial.write_bytes(content)


def sync_folder(folder: Path) -> None:
    """Make the renames inside a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_table(schema: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table with exactly the columns of the schema; a key that a row lacks is null."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=arrow_schema(schema))


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """Return the Arrow schema of these columns. Types are Arrow's names; ``list<float>[576]`` is a fixed-size list."""
    import pyarrow as pa

    return pa.schema([(column.name, _arrow_type(column.type)) for column in columns])


def _arrow_type(name: str) -> pa.DataType:
    import pyarrow as pa

    if name.startswith("list<float>"):
        return pa.list_(pa.float32(), int(name[len("list<float>[") : -1]))
    return pa.type_for_alias(name)


def write_table(target: Path, table: pa.Table, receipt: Receipt) -> None:
    """Write a table as Parquet, its receipt inside, atomically. The same table and receipt give the same bytes."""
    import pyarrow.parquet as pq

    with atomic_path(target) as partial:
        pq.write_table(
            table.replace_schema_metadata({_RECEIPT_KEY: receipt.to_json().encode()}), partial, compression="zstd"
        )


# -- reading ---------------------------------------------------------------------------------------------------


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a table of the dataset.

    Raises
    ------
    DamagedFile
        It is not Parquet, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # not pq.read_table: it imports pyarrow.dataset, a fifth of a second
            return file.read(columns) if columns is None else file.read(columns).select(columns)
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise damaged_table(path, error) from error


def read_receipt(path: Path) -> Receipt | None:
    """Return the receipt inside a Parquet file, or None when the file has none (somebody else wrote it).

    Raises
    ------
    DamagedFile
        It is not Parquet, or its receipt is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged_table(path, error) from error
    found = metadata.get(_RECEIPT_KEY)
    try:
        return Receipt(**json.loads(found)) if found else None
    except (TypeError, ValueError) as error:  # of another version, or nobody's
        raise damaged_table(path, error) from error


def printable(path: str) -> str:
    """Return a path with the bytes that are not UTF-8 spelt out; tables hold only paths that this leaves alone."""
    return path.encode("utf-8", "backslashreplace").decode()


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def damaged_table(path: Path, error: Exception) -> DamagedFile:
    """Return what to raise for a table that cannot be read."""
    command = WRITTEN_BY.get(path.name, "the command that wrote it")
    return DamagedFile(
        f"{path} cannot be read: {str(error).splitlines()[0]}",
        f"Delete it and type: shroomcurate {command}, with the same --dataset or --images as before.",
    )
