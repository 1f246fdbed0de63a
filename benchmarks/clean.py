"""How well `clean` finds what does not belong, on real photographs of which the truth is known.

Run: ``python -m benchmarks.clean SHARED`` where SHARED holds ``inat-mini`` and ``weights``. Class folders are made of
its photos, embedded and cleaned by the product's own functions as ``clean --images DIR`` does it, and ``clean.parquet``
is read. ``--only planted,scale`` runs parts of it, ``--half first,second,all`` chooses the photos: choose options on
the first half (two of the four big species, half of the planted pictures), and report the second; no photo is in both.
Figures are means over seeds, with their range in brackets.

as-is       the big species with the pictures that were planted among them
planted     their good photos, and planted pictures drawn by the seed from all, as a share of each class; the others'
            outlier scores on the same embeddings at the same time. No picture is planted twice, so where there are too
            few of them fewer good photos stand in each class.
kinds       the same with pictures of one kind only, 10 %: what carries over to a kind that no other one resembles
mislabels   good photos of other species among them, 10 %. Nothing but the species is wrong with them.
small       classes of 30, 50 and 100 good photos, 10 % planted
many        all species, most of about five photos, with what was planted among them
verdicts    10 % planted, and a person's verdicts; see benchmarks.clean_teach
training    20 % planted, `train-baseline --mode probe` on raw against cleaned photos
scale       time and memory; see benchmarks.clean_scale

How it is counted: a photo is out when ``kept`` is false. Noise is what `truth.csv` does not call ok; it is found when
it is out, whatever for. A good photo that is out as a ``duplicate`` counts nowhere, since there are true duplicates,
which the truth does not name: it is neither found nor lost, it stands in no average precision, also not in those of
others, and only "duplicates" counts it. "Good photos lost" is the share of the other good photos that is out. AP is the
average precision by ``score`` over all classes together; that of a kind is its pictures against the good photos. ECE
is the expected calibration error of the score as a probability. "Class
F1" and "class AP" are means over the classes. In the tables with others "default" is the F1 of what they take out by
themselves, "known" that of as many photos as are noise in each class, "best" that of the threshold that suits the truth
best.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import clean_scale
from benchmarks.clean_score import Figures, figures, means, reasons, span, table
from benchmarks.clean_teach import ASKERS, training, verdict_curve
from benchmarks.outliers import all_rivals
from benchmarks.planted import (
    HALVES,
    KINDS,
    Collection,
    Material,
    Plan,
    draw,
    material,
    options_from,
    plant,
    read_pictures,
)
from shroomcurate.embed import EmbedOptions

PARTS = ("as-is", "planted", "kinds", "mislabels", "small", "many", "verdicts", "training", "scale")
TENTH, FIFTH = 0.1, 0.2
SMALL = (30, 50, 100)
SIZES = ((445, 500), (1, 100_000))
SECONDS, MEBIBYTES = 60, 2048
OURS = "clean"


@dataclass
class Runs:
    """The runs of one setting, one for each seed."""

    ours: list[Figures] = field(default_factory=list)
    rivals: dict[str, list[Figures | None]] = field(default_factory=dict)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)


def settings(
    parts: Sequence[str], stuff: Material, chosen: argparse.Namespace
) -> Iterator[tuple[str, str, list[Plan]]]:
    """Give the part, the name and the plans, one for each seed, of each setting."""
    good, seeds = stuff.good, range(chosen.seeds)
    if "as-is" in parts:
        yield "as-is", "as it is", [stuff.big]
    if "planted" in parts:
        for percent in chosen.planted:
            plans = [plant(good, stuff.noise, percent / 100, seed) for seed in seeds]
            yield "planted", f"{percent:g} % planted", plans if percent else plans[:1]
    if "kinds" in parts:
        for kind in KINDS:
            own = [each for each in stuff.noise if each.kind == kind]
            yield "kinds", f"only {kind}", [plant(good, own, TENTH, seed) for seed in seeds]
    if "mislabels" in parts:
        yield "mislabels", "mislabels", [plant(good, stuff.others, TENTH, seed) for seed in seeds]
    if "small" in parts:
        for size in SMALL:
            plans = [plant(draw(good, size, seed), stuff.noise, TENTH, seed) for seed in seeds]
            yield "small", f"{size} photos a class", plans
    if "many" in parts:
        yield "many", "many", [stuff.big | stuff.small]


def run_settings(collection: Collection, stuff: Material, chosen: argparse.Namespace) -> dict[str, Runs]:
    """Judge all plans."""
    found: dict[str, Runs] = {}
    for part, name, plans in settings(chosen.only, stuff, chosen):
        runs = found[name] = Runs()
        for plan in plans:
            dataset = collection.build(plan, "plan")
            judged = collection.judge(plan, dataset, chosen.clean)
            runs.ours.append(figures(judged))
            for kind, counts in reasons(judged).items():
                runs.reasons.setdefault(kind, Counter()).update(counts)
            if part in {"as-is", "planted"} and chosen.rivals and judged.noise.any():
                for rival, each in all_rivals(judged).items():
                    runs.rivals.setdefault(rival, []).append(each)
        print(f"{name}: {span([run['F1'] for run in runs.ours])}", file=sys.stderr, flush=True)
    return found


# -- tables --------------------------------------------------------------------------------------------------------


def quality(found: dict[str, Runs]) -> str:
    """Return a line a setting."""
    names = ("precision", "recall", "F1", "AP", "ECE", "class F1", "class AP", "lost")
    head = ["", "good", "noise", *names[:-1], "good photos lost", "duplicates", "noise out as duplicate", "left alone"]
    rows = []
    for name, runs in found.items():
        counts = [f"{means(runs.ours)[each]:.0f}" for each in ("duplicates", "noise as duplicate", "left alone")]
        sizes = [f"{means(runs.ours)[each]:.0f}" for each in ("good", "noise")]
        rows.append([name, *sizes, *(span([run[each] for run in runs.ours]) for each in names), *counts])
    return table(head, rows)


def by_kind(found: dict[str, Runs], what: str) -> str:
    """Return a line a setting with a figure of each kind, ``recall`` or ``AP``."""
    rows = []
    kinds = sorted({kind for runs in found.values() for kind in runs.reasons} - {"ok"})
    for name, runs in found.items():
        rows.append([name, *(_number(means(runs.ours).get(f"{what} of {kind}", math.nan)) for kind in kinds)])
    return table([what, *kinds], rows)


def against(runs: Runs) -> str:
    """Return a line for cleaning and for each rival of one setting."""
    names = ("precision", "recall", "F1", "known F1", "best F1", "AP", "lost")
    head = ["", "precision", "recall", "F1: default", "known", "best", "AP", "good photos lost"]
    head += [f"AP of {kind}" for kind in KINDS]
    rows = []
    for name, each in [(OURS, list[Figures | None](runs.ours)), *runs.rivals.items()]:
        ran = [one for one in each if one is not None]
        if not ran:
            rows.append([name, "not installed", *["–"] * (len(head) - 2)])
            continue
        mean = means(ran)
        kinds = [_number(mean.get(f"AP of {kind}", math.nan)) for kind in KINDS]
        rows.append([name, *(span([one.get(column, math.nan) for one in ran]) for column in names), *kinds])
    return table(head, rows)


def confusion(runs: Runs) -> str:
    """Return a line a kind with how many of its pictures went for which reason, over all seeds."""
    why = sorted({reason for counts in runs.reasons.values() for reason in counts} - {"kept"})
    rows = [[kind, *(str(counts[each]) for each in ["kept", *why])] for kind, counts in runs.reasons.items()]
    return table(["", "kept", *why], rows)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def print_half(half: str, found: dict[str, Runs]) -> None:
    """Print the tables of one half."""
    print(f"\n## {half}\n\n{quality(found)}\n\n{by_kind(found, 'recall')}\n\n{by_kind(found, 'AP')}")
    for name, runs in found.items():
        if runs.rivals:
            print(f"\n{half}, {name}, on the same embeddings:\n\n{against(runs)}")
    for name, runs in found.items():
        print(f"\n{half}, {name}, kind and reason, all seeds together:\n\n{confusion(runs)}")


# -- what acts on a dataset ----------------------------------------------------------------------------------------


def verdicts(collection: Collection, stuff: Material, chosen: argparse.Namespace) -> dict[str, list[Figures]]:
    """Run the verdicts of each seed, print their table and return the runs by number of verdicts."""
    runs: dict[str, list[Figures]] = {}
    for seed in range(chosen.seeds):
        plan = plant(stuff.good, stuff.noise, TENTH, seed)
        curve = verdict_curve(collection, plan, chosen.verdicts, ASKERS[chosen.ask], chosen.clean)
        for step, each in curve.items():
            runs.setdefault(str(step), []).append(each)
    names = ["F1", "AP", "rest F1", "before F1", "rest AP", "before AP", "lost"]
    head = [
        "verdicts",
        "of noise",
        "F1, all",
        "AP, all",
        "F1, without verdict",
        "the same before",
        "AP, without verdict",
    ]
    head += ["the same before", "good photos lost"]
    rows = [
        [step, f"{means(each)['noise among them']:.0f}", *(span([one[name] for one in each]) for name in names)]
        for step, each in runs.items()
    ]
    print(f"\n{table(head, rows)}")
    return runs


def trainings(collection: Collection, stuff: Material, chosen: argparse.Namespace) -> list[Figures]:
    """Train for each seed, print the table and return the runs."""
    names = ["F1", "raw top-1", "clean top-1", "raw macro F1", "clean macro F1", "gain", "low", "high"]
    runs = [
        training(collection, plant(stuff.good, stuff.noise, FIFTH, seed), chosen.clean, seed)
        for seed in range(chosen.seeds)
    ]
    rows = [[str(seed), *(_number(run.get(name, math.nan)) for name in names)] for seed, run in enumerate(runs)]
    rows.append(["mean", *(_number(means(runs).get(name, math.nan)) for name in names)])
    print(f"\n{table(['seed', 'F1 of cleaning', *names[1:]], rows)}")
    return runs


def scale(folder: Path, embedding: EmbedOptions) -> list[dict[str, Any]]:
    """Measure time and memory, print the table and return its rows."""
    rows = []
    for classes, each in SIZES:
        took = clean_scale.measure(folder, classes, each, embedding)
        print(f"{classes} x {each}: {took}", file=sys.stderr, flush=True)
        rows.append({"classes": classes, "each": each, **took._asdict()})
    shown = [
        [
            f"{row['classes']:,} × {row['each']:,}",
            f"{row['seconds']:.1f}",
            f"{row['cpu']:.1f}",
            f"{row['peak']:,.0f} MiB",
            "yes" if row["seconds"] <= SECONDS and row["peak"] <= MEBIBYTES else "no",
        ]
        for row in rows
    ]
    head = ["classes × photos", "seconds", "CPU seconds", "peak memory", f"≤ {SECONDS} s and ≤ {MEBIBYTES} MiB"]
    print(f"\n{table(head, shown)}")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nMemory below {own:,.0f} MiB, this script's own, would not be seen.")
    return rows


# -- the command line ----------------------------------------------------------------------------------------------


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, metavar="SHARED")
    parser.add_argument("--only", type=_list(PARTS), default=PARTS, metavar="PART,...", help=", ".join(PARTS))
    parser.add_argument("--half", type=_list(HALVES), default=HALVES, metavar="HALF,...", help=", ".join(HALVES))
    parser.add_argument("--planted", type=_numbers(float), default=[0, 2, 5, 10, 20], metavar="PERCENT,...")
    parser.add_argument("--verdicts", type=_numbers(int), default=[0, 10, 20, 50, 100], metavar="COUNT,...")
    parser.add_argument("--ask", choices=ASKERS, default="line", help="which photos a person is asked about")
    parser.add_argument("--seeds", type=int, default=5, help="drawings of each setting")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of clean, eps=0.28")
    parser.add_argument("--no-rivals", dest="rivals", action="store_false", help="leave the others out")
    parser.add_argument("--embedder", default=EmbedOptions.embedder)
    parser.add_argument("--weights", type=Path, help="left away: SHARED/weights")
    parser.add_argument("--folder", type=Path, help="work here and leave it, so that the next run embeds nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    chosen = parser.parse_args(words)
    chosen.clean = options_from(chosen.set)
    return chosen


def _list(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        words = [word.strip() for word in text.split(",")]
        if unknown := [word for word in words if word not in allowed]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of: {', '.join(allowed)}")
        return words

    return read


def _numbers(kind: type) -> Callable[[str], list[Any]]:
    return lambda text: [kind(word) for word in text.split(",")]


def main() -> None:
    """Run what the command line asks for and print the tables."""
    chosen = options()
    with ExitStack() as stack:
        scratch = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        embedding = EmbedOptions(chosen.embedder, chosen.weights or chosen.shared / "weights")
        said: dict[str, Any] = {"options": {**vars(chosen), "clean": repr(chosen.clean)}}
        if set(chosen.only) - {"scale"}:
            pictures = read_pictures(chosen.shared / "inat-mini")
            collection = Collection(pictures, scratch, embedding)
            for half in chosen.half:
                stuff = material(pictures, half)
                own: dict[str, Any] = {}
                said[half] = own
                if found := run_settings(collection, stuff, chosen):
                    print_half(half, found)
                    own |= {name: vars(runs) for name, runs in found.items()}
                if "verdicts" in chosen.only:
                    print(f"\n{half}, verdicts, asked by {chosen.ask}, {TENTH:.0%} planted:")
                    own["verdicts"] = verdicts(collection, stuff, chosen)
                if "training" in chosen.only:
                    print(f"\n{half}, train-baseline --mode probe, {FIFTH:.0%} planted:")
                    own["training"] = trainings(collection, stuff, chosen)
        if "scale" in chosen.only:
            print(f"\n## scale\n\n{os.cpu_count()} cores, {os.getloadavg()[0]:.1f} of them busy at the start")
            said["scale"] = scale(scratch, embedding)
        if chosen.json:
            chosen.json.write_text(json.dumps(said, indent=1, default=str) + "\n", "utf-8")


if __name__ == "__main__":
    main()
