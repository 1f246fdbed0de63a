"""Compares what cleaning took out with what is known to be wrong.

Works for any dataset whose photos have a ``truth.csv``: the demo's, or a folder of real photographs with planted ones.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shroomcurate.dataset import Dataset, read_table
from shroomcurate.errors import DamagedFile, NothingMatches, SourceMissing


@dataclass(frozen=True)
class Tally:
    """Noise found, noise missed, and good photos wrongly removed."""

    found: int = 0
    missed: int = 0
    wrong: int = 0

    @property
    def precision(self) -> float:
        """Share of the removed photos that were noise; 0 when nothing was removed."""
        return _ratio(self.found, self.found + self.wrong)

    @property
    def recall(self) -> float:
        """Share of the noise that was removed; 0 when there was none."""
        return _ratio(self.found, self.found + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when either is undefined."""
        return _ratio(2 * self.found, 2 * self.found + self.missed + self.wrong)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.found + other.found, self.missed + other.missed, self.wrong + other.wrong)


@dataclass(frozen=True)
class CleaningScore:
    """How cleaning compares with the truth.

    Parameters
    ----------
    judged
        Photos that cleaning judged and the truth knows.
    noise, removed
        How many of these are noise, and how many were removed (removals that are left out of the count, see
        :func:`score_cleaning`, are not among them).
    precision, recall, f1
        Over all photos, 0..1.
    macro_f1
        Mean F1 of the classes that hold noise.
    kinds
        Kind of noise -> found and missed.
    classes
        Class -> its tally.
    """

    judged: int
    noise: int
    removed: int
    precision: float
    recall: float
    f1: float
    macro_f1: float
    kinds: dict[str, Tally]
    classes: dict[str, Tally]


class _Truth(NamedTuple):
    kind: str
    duplicate_of: int | None


class _Judged(NamedTuple):
    class_name: str
    kept: bool
    reason: str | None


def score_cleaning(
    dataset: Dataset, truth_csv: Path, classes: Collection[str] | None = None, duplicates: bool = False
) -> CleaningScore:
    """Compare ``clean.parquet`` with the truth about its photos.

    Parameters
    ----------
    truth_csv
        Columns photo_id, kind, and perhaps duplicate_of; kind ``ok`` is a good photo, ``duplicate`` another copy of
        one, anything else is noise.
    classes
        Count only these, by folder name; all by default.
    duplicates
        Whether duplicates count as noise. Then a pair is found when either of the two is removed, since nothing says
        which is the copy. If not, a good photo that was removed as a duplicate is neither right nor wrong.

    Raises
    ------
    StageMissing
        The dataset is not cleaned yet.
    SourceMissing, DamagedFile
        There is no such truth, or it lacks a column.
    NothingMatches
        None of the judged photos stands in it.
    """
    truth = _read_truth(truth_csv)
    rows = _read_judged(dataset, truth, classes)
    if not rows:
        raise NothingMatches(f"No photo that cleaning judged stands in {truth_csv}.", "Give the truth of this dataset.")
    removed = {photo_id for photo_id, row in rows.items() if not row.kept}
    copies = {photo_id: one.duplicate_of for photo_id, one in truth.items() if one.kind == "duplicate"}
    originals = {original: copy for copy, original in copies.items() if original is not None}
    kinds: dict[str, Tally] = {}
    by_class: dict[str, Tally] = {}
    for photo_id, row in rows.items():
        kind = truth[photo_id].kind
        out = photo_id in removed
        if kind == "duplicate" and duplicates:
            out = out or copies[photo_id] in removed
            tally = Tally(found=int(out), missed=int(not out))
        elif kind not in {"ok", "duplicate"}:
            tally = Tally(found=int(out), missed=int(not out))
        elif row.reason == "duplicate" and (not duplicates or originals.get(photo_id) in rows):
            tally = Tally()  # counted with its copy, or not at all
        else:
            tally = Tally(wrong=int(out))
        by_class[row.class_name] = by_class.get(row.class_name, Tally()) + tally
        if tally.found or tally.missed:
            kinds[kind] = kinds.get(kind, Tally()) + tally
    return _summary(len(rows), kinds, by_class)


def _read_truth(path: Path) -> dict[int, _Truth]:
    if not path.is_file():
        raise SourceMissing(f"There is no {path}.", "Give the truth.csv that lies beside the dump's metadata.")
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        missing = {"photo_id", "kind"} - set(reader.fieldnames or ())
        if missing:
            raise DamagedFile(f"{path} has no column {min(missing)}.", "It needs a header with photo_id and kind.")
        return {
            int(row["photo_id"]): _Truth(row["kind"], int(row["duplicate_of"]) if row.get("duplicate_of") else None)
            for row in reader
        }


def _read_judged(dataset: Dataset, truth: dict[int, _Truth], classes: Collection[str] | None) -> dict[int, _Judged]:
    table = read_table(dataset.require("clean.parquet"), ["photo_id", "class", "kept", "reason"])
    return {
        row["photo_id"]: _Judged(row["class"], row["kept"], row["reason"])
        for row in table.to_pylist()
        if row["photo_id"] in truth and (classes is None or row["class"] in classes)
    }


def _summary(judged: int, kinds: dict[str, Tally], by_class: dict[str, Tally]) -> CleaningScore:
    total = sum(by_class.values(), Tally())
    noisy = [tally for tally in by_class.values() if tally.found + tally.missed]
    return CleaningScore(
        judged=judged,
        noise=total.found + total.missed,
        removed=total.found + total.wrong,
        precision=total.precision,
        recall=total.recall,
        f1=total.f1,
        macro_f1=_ratio(sum(tally.f1 for tally in noisy), len(noisy)),
        kinds=dict(sorted(kinds.items())),
        classes=dict(sorted(by_class.items())),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
