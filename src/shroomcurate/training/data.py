"""The photos to train on and to test on: which, where they lie, which class, and proof that nothing leaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Dataset, read_table
from shroomcurate.errors import DamagedFile, StageMissing, TooLittleData
from shroomcurate.groups import Leak, certify, connect, photo_ties

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

Row = tuple[str, str, str, int, str | None]  # path, class, split, fold, reason of removal
SPLITS = ("train", "val", "test")
REMOVED = "removed"
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Examples:
    """The photos of the classes that take part: one row each, sorted by path."""

    labels: tuple[str, ...]
    """The classes that take part, sorted: class number -> class."""
    left_out: dict[str, str]
    """The other classes, and why."""
    paths: list[str]
    places: list[Path]
    """Where each photo lies."""
    truth: Ints
    """Class numbers, ``(photos,)``."""
    split: list[str]
    """``train``, ``val``, ``test``; or ``removed``: taken out by cleaning, and tied to no val or test photo."""
    fold: Ints
    """-1 for removed ones."""
    groups: list[str]
    reasons: list[str | None]
    """Why the removed ones were removed."""
    certificate: dict[str, int]
    """What was checked for leaks; see :func:`shroomcurate.groups.certify`."""

    def rows(self, *splits: str) -> Ints:
        """Return the row numbers of the photos in these splits."""
        import numpy as np

        return np.flatnonzero(np.isin(self.split, splits))

    def without_unreadable(self, readable: NDArray[np.bool_]) -> Examples:
        """Return the same rows, those that cannot be read moved to a split of their own, ``unreadable``.

        Raises
        ------
        TooLittleData
            A class has no readable photo left in train, val or test.
        """
        split = [part if read else UNREADABLE for part, read in zip(self.split, readable, strict=True)]
        left = {(number, part) for number, part in zip(self.truth.tolist(), split, strict=True)}
        for number, label in enumerate(self.labels):
            for part in SPLITS:
                if (number, part) not in left:
                    raise TooLittleData(
                        f"No photo of {label} in {part} can be read.",
                        "Put the photos back, or clean anew, which leaves out those that cannot be read, then type the "
                        "same command again.",
                    )
        return replace(self, split=split)

    def counts(self) -> dict[str, int]:
        """Return the number of photos of each split, and of the removed ones that raw training adds."""
        return {part: self.split.count(part) for part in (*SPLITS, REMOVED)}


def read_examples(dataset: Dataset) -> Examples:
    """Read the split, and the removed photos that training on the raw photos may add.

    A removed photo may be added when its class takes part and its group is in neither val nor test. Every reason
    counts, ``duplicate`` too: raw means what training would have seen without cleaning.

    Raises
    ------
    StageMissing
        There is no ``splits.parquet``, or it or ``clean.parquet`` was made from other files than those that are here
        now.
    TooLittleData
        Fewer than two classes have photos in all three splits.
    DamagedFile
        ``splits.parquet`` parts what belongs together.
    """
    import numpy as np

    splits = dataset.require("splits.parquet")
    dataset.refuse_stale("clean.parquet")
    dataset.refuse_stale("splits.parquet")
    table = read_table(splits, ["path", "class", "split", "fold"]).to_pydict()
    kept = list(zip(table["path"], table["class"], table["split"], table["fold"], strict=True))
    labels, left_out = _taking_part(kept)
    if len(labels) < 2:
        raise TooLittleData(
            f"{len(labels)} of {len(left_out) + len(labels)} classes have photos in train, val and test; "
            "two are the least that can be told apart.",
            "Select more species or more photos of each: shroomcurate query --species 4 --per-class 200",
        )
    ties = photo_ties(dataset)
    groups = connect(ties)
    _certify(dataset, {path: (split, fold) for path, _, split, fold in kept}, ties, groups)
    held_out = {groups[path] for path, _, split, _ in kept if split != "train"}
    rows: list[Row] = [(path, name, split, fold, None) for path, name, split, fold in kept if name in labels]
    rows += [
        (path, name, REMOVED, -1, reason)
        for path, name, reason in _removed(dataset)
        if name in labels and groups[path] not in held_out
    ]
    rows.sort()
    side = {path: "train" if split == REMOVED else split for path, _, split, _, _ in rows}
    number = {label: i for i, label in enumerate(labels)}
    return Examples(
        labels=labels,
        left_out=left_out,
        paths=[path for path, *_ in rows],
        places=[dataset.locate(path, reason) for path, _, _, _, reason in rows],
        truth=np.array([number[name] for _, name, *_ in rows]),
        split=[split for _, _, split, _, _ in rows],
        fold=np.array([fold for _, _, _, fold, _ in rows]),
        groups=[groups[path] for path, *_ in rows],
        reasons=[reason for *_, reason in rows],
        certificate=_certify(dataset, side, ties, groups),
    )


def _taking_part(kept: list[tuple[str, str, str, int]]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the classes that every split has, and the others with what they lack."""
    counts = Counter((name, split) for _, name, split, _ in kept)
    labels, left_out = [], {}
    for name in sorted({name for name, _ in counts}):
        lacking = [split for split in SPLITS if not counts[name, split]]
        if lacking:
            left_out[name] = f"no photo in {' and '.join(lacking)}"
        else:
            labels.append(name)
    return tuple(labels), left_out


def _certify(dataset: Dataset, parts: Any, ties: Any, groups: Any) -> dict[str, int]:
    unknown = sorted(set(parts) - set(groups))
    try:
        if unknown:
            raise Leak(f"{unknown[0]} is not a photo of the dataset")
        return certify(parts, ties, groups)
    except Leak as leak:
        raise DamagedFile(
            f"{dataset.path('splits.parquet')} would let the test see what training saw: {leak}.",
            f"Delete it and type: shroomcurate train-baseline {dataset.option}",
        ) from leak


def _removed(dataset: Dataset) -> list[tuple[str, str, str]]:
    """Return path, class and reason of the photos that cleaning took out."""
    path = dataset.path("clean.parquet")
    if not path.exists():
        return []
    table = read_table(path, ["path", "class", "kept", "reason"]).to_pydict()
    rows = zip(table["path"], table["class"], table["kept"], table["reason"], strict=True)
    return [(path, name, reason) for path, name, kept, reason in rows if not kept]


def read_vectors(dataset: Dataset, examples: Examples) -> Floats:
    """Return the stored embedding of each example, scaled to length 1: float32 ``(photos, features)``.

    An unreadable photo's is 0.

    Raises
    ------
    StageMissing
        There are no embeddings, or a photo has none.
    """
    import numpy as np

    path = dataset.require("embeddings.parquet")
    table = read_table(path, ["path", "vector"])
    row_of = {name: row for row, name in enumerate(table["path"].to_pylist())}
    wanted = [(i, name) for i, name in enumerate(examples.paths) if examples.split[i] != UNREADABLE]
    lacking = [name for _, name in wanted if name not in row_of]
    if lacking:
        raise StageMissing(
            f"{path} lacks {len(lacking)} photos, such as {lacking[0]}.",
            f"Type this first: shroomcurate clean {dataset.option}",
        )
    stored = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
    vectors = np.zeros((len(examples.paths), stored.shape[1]), np.float32)
    vectors[[i for i, _ in wanted]] = stored[[row_of[name] for _, name in wanted]]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
