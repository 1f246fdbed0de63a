"""Split the clean photos into training, validation and test, and into folds, without leaks.

Reads: ``clean.parquet`` (without it: all photos in the class folders), ``selection.parquet`` for the observations.
Writes: ``splits.parquet``. Resumes: it takes seconds; the same input gives the same bytes.

Groups are never parted (see :mod:`shroomcurate.groups`). Within that, each class is shared out as the options say:
groups come in the order of a seeded hash, and each goes where its classes lack most photos. A class of fewer than three
groups cannot be in all three splits: it stays in training whole, and the summary names it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, fields

from shroomcurate.dataset import (
    Column,
    Dataset,
    Receipt,
    file_hash,
    make_table,
    printable,
    read_receipt,
    read_table,
    write_table,
)
from shroomcurate.errors import BadOption, TooLittleData
from shroomcurate.groups import certify, connect, photo_ties
from shroomcurate.progress import Progress, silent

SCHEMA = (
    Column("path", "string", "the photo, relative to the dataset"),
    Column("class", "string", "its class"),
    Column("split", "string", "train, val or test"),
    Column("fold", "int32", "its fold for cross-validation, from 0; independent of the split"),
    Column("group", "string", "photos that stay together: an observation, a photo, near-duplicates, an observer's day"),
)
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitOptions:
    """How to share the photos out.

    Parameters
    ----------
    train, val, test
        Shares of each class; together 1. 70/15/15 leaves 30 test photos of 200, which know a recall of 0.9 to ± 0.11.
    folds
        Parts for cross-validation: 5 trains on 80 %, close to the final model's share, at five times its cost. There
        are never more than a class has groups.
    seed
        Another seed gives another split.
    same_day
        Keep together what one observer took on one day: nearer to how a stranger's photos fare, at the price of larger
        groups, which meet the shares less closely. Off, for most observations of a day are of different finds.
    """

    train: float = 0.70
    val: float = 0.15
    test: float = 0.15
    folds: int = 5
    seed: int = 0
    same_day: bool = False

    def __post_init__(self) -> None:
        for name in SPLITS:
            share = getattr(self, name)
            if not 0 < share < 1:
                raise BadOption(f"The {name} share is {share}.", "Give a number between 0 and 1, such as 0.15.")
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise BadOption(f"The shares add up to {total:g}.", "Give three that add up to 1, such as 0.7, 0.15, 0.15.")
        if self.folds < 2:
            raise BadOption(f"--folds is {self.folds}.", "Give 2 or more.")


def shares(text: str) -> tuple[float, float, float]:
    """Return the shares of train, val and test that a person typed.

    Between slashes they are per cent that add up to 100, or shares that add up to 1: ``70/15/15``, ``0.7/0.15/0.15``.
    Between colons they are a ratio, whatever it adds up to: ``7:1.5:1.5``. Two numbers are training against what is
    held out, and that is halved into val and test, for a model must be chosen on other photos than it is tested on:
    ``4:1`` and ``80/20`` are 80/10/10.

    Raises
    ------
    BadOption
        These are not two or three numbers above 0, or per cent that do not add up to 100.

    Examples
    --------
    >>> shares("70/15/15")
    (0.7, 0.15, 0.15)
    >>> shares("4:1")
    (0.8, 0.1, 0.1)
    """
    ratio = ":" in text
    try:
        numbers = [float(word) for word in text.split(":" if ratio else "/")]
    except ValueError:
        numbers = []
    total = sum(numbers)
    if len(numbers) not in (2, 3) or not all(number > 0 for number in numbers) or not math.isfinite(total):
        raise BadOption(
            f"--split is {text!r}.",
            "Give per cent of training, validation and test, such as 70/15/15; or training against the rest, which is "
            "then halved, such as 4:1.",
        )
    if not ratio and min(abs(total - 1), abs(total - 100) / 100) > 1e-6:
        raise BadOption(
            f"--split is {text!r}, which adds up to {total:g}.",
            f"Give per cent that add up to 100, such as 70/15/15; or a ratio: {text.replace('/', ':')}",
        )
    if len(numbers) == 2:
        numbers = [numbers[0], numbers[1] / 2, numbers[1] / 2]
    if abs(total - 1) < 1e-9:
        total = 1.0  # what is shares already stays as it is, to the last bit
    train, val, test = (number / total for number in numbers)
    return train, val, test


@dataclass(frozen=True)
class SplitSummary:
    """What the split is made of: counts of photos, by split and by class, and the proof that nothing leaks."""

    photos: int
    groups: int
    splits: dict[str, int]
    classes: dict[str, dict[str, int]]
    not_in_all_splits: list[str]
    """Classes of fewer than three groups (or whose groups hang on others): they cannot be evaluated."""
    certificate: dict[str, int]
    folds: int
    """Parts for cross-validation that hold photos: fewer than asked for where no class has so many groups."""
    folds_asked: int
    in_few_folds: dict[str, int]
    """Classes that take part and that some of these lack, for want of groups, and how many of them have it."""


def options_before(dataset: Dataset) -> SplitOptions:
    """Return the options of the split that is there; the defaults where there is none."""
    file = dataset.path("splits.parquet")
    receipt = read_receipt(file) if file.exists() else None
    known = {field.name for field in fields(SplitOptions)}
    return SplitOptions(
        **{name: value for name, value in (receipt.options if receipt else {}).items() if name in known}
    )


def split(dataset: Dataset, options: SplitOptions = SplitOptions(), progress: Progress = silent) -> SplitSummary:
    """Write ``splits.parquet``.

    Raises
    ------
    TooLittleData
        There is no photo to split.
    StageMissing
        ``clean.parquet`` was made from another selection, or other embeddings, than those that are here now.
    BadOption
        The dataset's tables are those of another tree.
    """
    dataset.refuse_other_tree()
    with dataset.lock("train-baseline"):
        dataset.refuse_stale("clean.parquet")
        classes = _kept_photos(dataset)
        if not classes:
            raise TooLittleData(
                f"There are no photos to split in {dataset.images}.",
                f"Type this first: shroomcurate download {dataset.option}",
            )
        ties = photo_ties(dataset, options.same_day)
        groups = connect(ties)
        placed = place(classes, groups, options)
        certificate = certify(placed, ties, groups)
        rows = [
            {"path": path, "class": classes[path], "split": part, "fold": fold, "group": groups[path]}
            for path, (part, fold) in sorted(placed.items())
        ]
        inputs = {
            name: file_hash(dataset.path(name))
            for name in ("clean.parquet", "selection.parquet")
            if dataset.path(name).exists()
        }
        receipt = Receipt("split", {**asdict(options), "certificate": certificate}, inputs)
        write_table(dataset.path("splits.parquet"), make_table(SCHEMA, rows), receipt)
        progress(len(rows), len(rows), "split")
        return _summary(classes, placed, certificate, options.folds)


def place(classes: Mapping[str, str], groups: Mapping[str, str], options: SplitOptions) -> dict[str, tuple[str, int]]:
    """Return path -> (split, fold). Pure: the same photos, groups and options give the same answer anywhere.

    Parameters
    ----------
    classes
        Path -> class of the photos to place.
    groups
        Path -> group, of these photos at least.
    """
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted(classes):
        sizes[groups[path]][classes[path]] += 1
    shares = [options.train, options.val, options.test]
    split_of = share_out(sizes, shares, f"{options.seed}:split", keep_small_whole=True)
    folds = max(2, min(options.folds, len(sizes)))  # more could not hold a photo
    fold_of = share_out(sizes, [1 / folds] * folds, f"{options.seed}:fold")
    return {path: (SPLITS[split_of[groups[path]]], fold_of[groups[path]]) for path in classes}


def share_out(
    sizes: Mapping[str, Mapping[str, int]], shares: Sequence[float], salt: str, keep_small_whole: bool = False
) -> dict[str, int]:
    """Share groups out over parts so that each class comes as near to the shares as its groups allow.

    Where each group has one class, no part ends more than one group above its share of a class.

    Parameters
    ----------
    sizes
        Group -> class -> number of photos.
    shares
        The parts' shares, together 1.
    salt
        Orders the groups: another salt, another result.
    keep_small_whole
        Put the groups of a class that has fewer groups than there are parts into part 0.

    Returns
    -------
    dict
        Group -> number of its part.
    """
    totals: Counter[str] = Counter()
    groups_of: Counter[str] = Counter()
    for members in sizes.values():
        totals.update(members)
        groups_of.update(members.keys())
    lacking = {name: [share * total for share in shares] for name, total in totals.items()}
    small = {name for name, count in groups_of.items() if count < len(shares)} if keep_small_whole else set()

    def turn(group: str) -> tuple[int, str]:
        # First what has no choice, then what only fits while there is room: a group above a class's smallest share.
        large = any(count > min(shares) * totals[name] for name, count in sizes[group].items())
        forced = not small.isdisjoint(sizes[group])
        return 2 - large - 2 * forced, hashlib.sha256(f"{salt}:{group}".encode()).hexdigest()

    part_of: dict[str, int] = {}
    for group in sorted(sizes, key=turn):
        lack = [sum(lacking[name][part] for name in sizes[group]) for part in range(len(shares))]
        part = 0 if not small.isdisjoint(sizes[group]) else lack.index(max(lack))
        part_of[group] = part
        for name, count in sizes[group].items():
            lacking[name][part] -= count
    _fill_empty_parts(part_of, sizes, len(shares), small)
    return part_of


def _fill_empty_parts(
    part_of: dict[str, int], sizes: Mapping[str, Mapping[str, int]], parts: int, small: Set[str]
) -> None:
    """Give a part that has none of a class a small group of it, where no part loses its last one of a class by that."""
    members: dict[str, list[list[str]]] = defaultdict(lambda: [[] for _ in range(parts)])
    for group in sorted(sizes, key=lambda group: (sum(sizes[group].values()), group)):
        for name in sizes[group]:
            members[name][part_of[group]].append(group)
    for name in sorted(members):
        if sum(map(len, members[name])) < parts:
            continue
        for empty in [part for part in range(parts) if not members[name][part]]:
            movable = [
                group
                for part in range(parts)
                for group in members[name][part]
                if all(len(members[other][part]) > 1 and other not in small for other in sizes[group])
            ]
            if not movable:
                continue
            fullest = max(range(parts), key=lambda part: (len(members[name][part]), -part))
            group = min(movable, key=lambda group: (part_of[group] != fullest, sum(sizes[group].values()), group))
            for other in sizes[group]:
                members[other][part_of[group]].remove(group)
                members[other][empty].append(group)
            part_of[group] = empty


def _kept_photos(dataset: Dataset) -> dict[str, str]:
    """Return path -> class of the photos that stand in the class folders by cleaning's verdict, or all of them."""
    judged = dataset.path("clean.parquet")
    if judged.exists():
        table = read_table(judged, ["path", "class", "kept"]).to_pydict()
        return {
            path: name for path, name, kept in zip(table["path"], table["class"], table["kept"], strict=True) if kept
        }
    return {
        path: path.split("/")[1]
        for path, place in dataset.photos().items()
        if place == dataset.locate(path, None) and printable(path) == path
    }


def _summary(
    classes: Mapping[str, str], placed: Mapping[str, tuple[str, int]], certificate: dict[str, int], folds_asked: int
) -> SplitSummary:
    table = {name: dict.fromkeys(SPLITS, 0) for name in sorted(set(classes.values()))}
    folds: dict[str, set[int]] = defaultdict(set)
    for path, (part, fold) in placed.items():
        table[classes[path]][part] += 1
        folds[classes[path]].add(fold)
    used = len(set[int]().union(*folds.values()))
    return SplitSummary(
        photos=len(placed),
        groups=certificate["groups"],
        splits={part: sum(counts[part] for counts in table.values()) for part in SPLITS},
        classes=table,
        not_in_all_splits=[name for name, counts in table.items() if not all(counts.values())],
        certificate=certificate,
        folds=used,
        folds_asked=folds_asked,
        in_few_folds={
            name: len(folds[name]) for name, counts in table.items() if all(counts.values()) and len(folds[name]) < used
        },
    )
