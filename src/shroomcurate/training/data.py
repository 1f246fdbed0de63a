"""The photos to train on and to test on: which, where they lie, which class, and proof that nothing leaks.

Beside the split of the clean photos there is that of the raw ones: the clean photos of train and of test, each with
removed photos. A removed photo goes where its group lies; on val's side it is of no use, for val chooses the model, of
raw training too, by clean photos. Groups of removed photos only are drawn by a seeded hash, in the split's own shares:
so raw training and raw test hold as much of what cleaning removes as the raw photos do, no more and no less.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Dataset, read_receipt, read_table
from shroomcurate.errors import DamagedFile, StageMissing, TooLittleData
from shroomcurate.groups import Leak, certify, connect, photo_ties, split_by_day

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

Row = tuple[str, str, str, int, str | None]  # path, class, split, fold, reason of removal
SPLITS = ("train", "val", "test")
REMOVED, REMOVED_VAL, REMOVED_TEST = "removed", "removed-val", "removed-test"
UNREADABLE = "unreadable"
#: What the removed photos are called that stand on the side of a split.
_REMOVED_OF = {"train": REMOVED, "val": REMOVED_VAL, "test": REMOVED_TEST}


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
    """``train``, ``val``, ``test``; of what cleaning took out ``removed``, which raw training adds, ``removed-test``,
    which the raw test adds, and ``removed-val``, which neither does."""
    fold: Ints
    """For cross-validation; independent of the split."""
    groups: list[str]
    observations: list[str | None]
    """The observation that each photo belongs to; None where it is not known. A group can hold several."""
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
        """Return the number of photos of each split, and of the removed ones that raw training and the raw test add."""
        return {part: self.split.count(part) for part in (*SPLITS, REMOVED, REMOVED_TEST)}


def read_examples(dataset: Dataset) -> Examples:
    """Read the split, and the removed photos that raw training and the raw test add.

    Every reason counts, ``duplicate`` too: raw means what there would be without cleaning.

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
    ties = photo_ties(dataset, split_by_day(dataset))
    groups = connect(ties)
    _certify(dataset, {path: (split, fold) for path, _, split, fold in kept}, ties, groups)
    homes = _homes(dataset, {groups[path]: (split, fold) for path, _, split, fold in kept})
    rows: list[Row] = [(path, name, split, fold, None) for path, name, split, fold in kept if name in labels]
    for path, name, reason in _removed(dataset):
        if name in labels:
            split, fold = homes(groups[path])
            rows.append((path, name, _REMOVED_OF[split], fold, reason))
    rows.sort()
    side = {removed: split for split, removed in _REMOVED_OF.items()}
    parts = {path: (side.get(split, split), fold) for path, _, split, fold, _ in rows}
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
        observations=[next((tie.key for tie in ties[path] if tie.kind == "observation"), None) for path, *_ in rows],
        reasons=[reason for *_, reason in rows],
        certificate=_certify(dataset, parts, ties, groups),
    )


def _homes(dataset: Dataset, known: Mapping[str, tuple[str, int]]) -> Callable[[str], tuple[str, int]]:
    """Return what gives the split and the fold of a group; those that no kept photo is in are drawn, by hash."""
    receipt = read_receipt(dataset.path("splits.parquet"))
    options = receipt.options if receipt else {}
    train, test = (float(options.get(name, share)) for name, share in (("train", 0.7), ("test", 0.15)))
    folds = 1 + max((fold for _, fold in known.values()), default=0)

    def home(group: str) -> tuple[str, int]:
        if group in known:
            return known[group]
        digest = hashlib.sha256(f"{options.get('seed', 0)}:raw:{group}".encode()).digest()
        place, fold = (int.from_bytes(half, "big") / 2**64 for half in (digest[:8], digest[8:16]))
        return "train" if place < train else "test" if place >= 1 - test else "val", int(fold * folds)

    return home


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
