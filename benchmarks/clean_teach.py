"""What cleaning is good for, and what a person's verdicts bring: the two parts of the benchmark that act on a dataset.

Verdicts: a person is asked in rounds; `truth.csv` answers, the answers go into ``verdicts.csv``, and `clean` runs anew.
Whoever is asked about the hardest photos leaves the easier ones to be counted, so the figure of the photos without a
verdict rises by that alone: beside it stands what the same photos had before the first verdict.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from benchmarks.clean_score import Figures, average_precision, figures, tally
from benchmarks.planted import OK, Collection, Judged, Plan
from shroomcurate.clean import CleanOptions, clean
from shroomcurate.dataset import Dataset, read_table
from shroomcurate.verdicts import Verdict, append_verdicts, read_verdicts

#: What a person calls each kind of planted picture.
REASON_OF = {
    "microscopy": "microscopy",
    "scenery": "scenery",
    "hand": "obstructed",
    "drawing": "drawing",
    "screenshot": "screenshot",
}

Ask = Callable[[Dataset, int], list[str]]
"""A cleaned dataset and a number -> paths of so many photos without a verdict."""


def ask_line(dataset: Dataset, count: int) -> list[str]:
    """Return the photos whose score is nearest 0.5."""
    rows, verdicts = _rows(dataset), read_verdicts(dataset)
    open_ones = [(abs(score - 0.5), path) for path, score in rows if path not in verdicts]
    return [path for _, path in sorted(open_ones)[:count]]


def ask_random(dataset: Dataset, count: int) -> list[str]:
    """Return photos by chance."""
    verdicts = read_verdicts(dataset)
    open_ones = [path for path, _ in _rows(dataset) if path not in verdicts]
    return random.Random(len(verdicts)).sample(open_ones, min(count, len(open_ones)))


def ask_suggested(dataset: Dataset, count: int) -> list[str]:
    """Return the photos that `clean --suggest` names."""
    return [suggestion.path for suggestion in clean(dataset, CleanOptions(suggest=count, dry_run=True)).suggestions]


def _rows(dataset: Dataset) -> list[tuple[str, float]]:
    table = read_table(dataset.require("clean.parquet"), ["path", "score"]).to_pydict()
    return list(zip(table["path"], table["score"], strict=True))


ASKERS: dict[str, Ask] = {"suggest": ask_suggested, "line": ask_line, "random": ask_random}


def answer(dataset: Dataset, paths: Sequence[str], kinds: dict[str, str]) -> None:
    """Store what a person who knows the truth says of these photos."""
    for kind in sorted({kinds[path] for path in paths}):
        verdict = Verdict(True, None) if kind == OK else Verdict(False, REASON_OF.get(kind, "outlier"))
        append_verdicts(dataset, {path: verdict for path in paths if kinds[path] == kind}, note="truth")


def verdict_curve(
    collection: Collection, plan: Plan, steps: Sequence[int], ask: Ask, options: CleanOptions
) -> dict[int, Figures]:
    """Return the figures after each number of verdicts; the numbers grow."""
    dataset = collection.build(plan, "verdicts")
    before = judged = collection.judge(plan, dataset, options)
    kinds = dict(zip(judged.paths, judged.kinds.tolist(), strict=True))
    curve = {}
    for last, step in pairwise([0, *steps]):
        if step > last:
            answer(dataset, ask(dataset, step - last), kinds)
            judged = collection.judge(plan, dataset, options)
        curve[step] = _without(judged, before, set(read_verdicts(dataset)))
    return curve


def _without(judged: Judged, before: Judged, known: set[str]) -> Figures:
    """Return the figures of all photos, of those without a verdict, and of these before the first verdict."""
    import numpy as np

    # Photos that were good and a duplicate at either time are counted at neither: the same photos are compared.
    counted = judged.counted & before.counted
    rest = counted & np.array([path not in known for path in judged.paths], bool)
    own = figures(judged)
    return {
        "verdicts": float(len(known)),
        "noise among them": float(sum(judged.noise[row] for row, path in enumerate(judged.paths) if path in known)),
        "F1": own["F1"],
        "AP": own["AP"],
        "rest F1": tally(judged.noise[rest], judged.removed[rest]).f1,
        "rest AP": average_precision(judged.noise[rest], judged.scores[rest]),
        "before F1": tally(before.noise[rest], before.removed[rest]).f1,
        "before AP": average_precision(before.noise[rest], before.scores[rest]),
        "lost": own["lost"],
    }


def training(collection: Collection, plan: Plan, options: CleanOptions, seed: int) -> Figures:
    """Return what `train-baseline --mode probe` says of raw against cleaned photos."""
    from shroomcurate.split import SplitOptions, split
    from shroomcurate.training import TrainOptions, train_baseline

    dataset = collection.build(plan, "training")
    judged = collection.judge(plan, dataset, options)
    split(dataset, SplitOptions(seed=seed))
    compared: dict[str, Any] | None = train_baseline(dataset, TrainOptions(mode="probe", seed=seed)).raw_vs_clean
    if compared is None:
        return {"F1": figures(judged)["F1"]}
    gain = compared["difference"]["top1"]
    return {
        "F1": figures(judged)["F1"],
        "raw photos": compared["train_photos"]["raw"],
        "clean photos": compared["train_photos"]["clean"],
        "raw top-1": compared["raw"]["top1"],
        "clean top-1": compared["clean"]["top1"],
        "raw macro F1": compared["raw"]["macro_f1"],
        "clean macro F1": compared["clean"]["macro_f1"],
        "gain": gain["difference"],
        "low": gain["low"],
        "high": gain["high"],
    }
