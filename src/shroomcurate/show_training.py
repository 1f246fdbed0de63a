"""How the results of training look in a terminal; all of them carry the safety notice."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from shroomcurate.dataset import Dataset
from shroomcurate.show import shortened
from shroomcurate.terminal import Terminal

if TYPE_CHECKING:
    from shroomcurate.predict import Prediction, Predictions
    from shroomcurate.split import SplitSummary
    from shroomcurate.training import BaselineSummary
    from shroomcurate.training.comparison import Comparison, Run
    from shroomcurate.training.estimate import Estimate

#: Classes named in one line.
_NAMED = 3


def expected(terminal: Terminal, found: Estimate) -> None:
    """Show how long training will take, before it starts."""
    more = f", {found.trainings:g} trainings" if found.trainings > 1 else ""
    terminal.say(
        f"\nUp to about {_duration(found.seconds)}: {found.train_photos:,} photos, {found.epochs} epochs{more}. "
        "It can be stopped and typed again."
    )
    if found.long:
        terminal.warn("--mode probe answers most of the same questions within minutes.")


def goes_on(terminal: Terminal, epochs: int) -> None:
    """Show that a training that was broken off is not begun anew."""
    terminal.say(f"\nIt goes on after epoch {epochs:,} of the training that was broken off.")


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{max(1, round(seconds))} seconds"


def train_baseline(terminal: Terminal, found: Sequence[BaselineSummary], parts: SplitSummary, dataset: Dataset) -> None:
    """Show the split's certificate, the figures, and what they say of the dataset; of several networks one table."""
    terminal.counts("Split by group: nothing known to belong together is parted", ("part", "photos"), parts.splits)
    terminal.counts("Checked", ("what", "count"), parts.certificate)
    if not parts.certificate.get("observations"):
        terminal.warn(
            "Which photos show one observation is not known here, so only near-duplicates are kept together: photos of "
            "one mushroom can stand on both sides, and the figures may be too good."
        )
    _few_folds(terminal, parts)
    if len(found) == 1:
        _one(terminal, found[0])
    else:
        rows = [
            (each.architecture or each.mode, each.top1, each.top5, each.macro_f1, each.ece_calibrated) for each in found
        ]
        terminal.table("Networks", ("network", "top-1", "top-5", "macro F1", "ECE, calibrated"), rows)
    for each in found:
        done = " (done before)" if each.already_done else ""
        terminal.say(f"\n{escape(str(dataset.root / each.run))}{done}", whole=True)
    terminal.say(f"[bold]{found[0].safety}[/]")
    terminal.result({"split": parts, **asdict(found[0])} if len(found) == 1 else {"split": parts, "runs": list(found)})


def _few_folds(terminal: Terminal, parts: SplitSummary) -> None:
    """Say which folds there are not, and which classes limit them."""
    if parts.folds < parts.folds_asked:
        terminal.warn(
            f"There are {parts.folds:,} folds instead of {parts.folds_asked:,}: no class has more groups of photos."
        )
    fewest = sorted(parts.in_few_folds.items(), key=lambda each: (each[1], each[0]))
    if fewest:
        named = ", ".join(f"{name} {count:,}" for name, count in fewest[:_NAMED]) + ", …" * (len(fewest) > _NAMED)
        terminal.warn(
            f"Not every one of the {parts.folds:,} folds has a photo of each class, for want of groups: {named}."
        )


def _one(terminal: Terminal, summary: BaselineSummary) -> None:
    network = f", {summary.architecture}" if summary.architecture else ""
    terminal.table(
        f"Baseline ({summary.mode}{network}, {summary.classes} classes)",
        (f"on {summary.photos['test']:,} test photos", "value"),
        [
            ("top-1", summary.top1),
            ("top-5", summary.top5),
            ("macro F1", summary.macro_f1),
            ("calibration error (ECE)", summary.ece),
            ("ECE after temperature scaling", summary.ece_calibrated),
        ],
    )
    terminal.table("Left out", ("class", "because"), shortened(list(summary.left_out.items())))
    if summary.raw_vs_clean:
        _comparison(terminal, summary.raw_vs_clean, summary.mode)
    if summary.cross_validation and summary.cross_validation["folds"]:
        _folds(terminal, summary.cross_validation)
    if summary.search:
        _search(terminal, summary.search)
    if summary.learning_curve:
        _curve(terminal, summary.learning_curve)
    rows = [
        (each["class"], each["f1"], each["gain"], ", ".join(other["class"] for other in each["taken_for"][:2]))
        for each in summary.dragging[:5]
    ]
    terminal.table("Classes that drag", ("class", "F1", "costs macro F1", "taken for"), rows)
    _danger(terminal, summary.danger, summary.threshold if summary.phone else None)
    _phone(terminal, summary.phone)
    for note in summary.notes:
        terminal.warn(note)


def _comparison(terminal: Terminal, comparison: Mapping[str, Any], mode: str) -> None:
    model = "" if comparison["model"] == mode else f" (by the {comparison['model']}, not the model above)"
    every = comparison.get("by_fold")
    seeds = len(comparison.get("seeds", ()))
    means = f", means of {seeds} seeds" if seeds > 1 else ""  # the figures above are of the first alone
    for where, figures in (
        (f"clean test photos{means}", comparison),
        (f"raw test photos{means}", comparison.get("on_raw_test")),
        ("clean photos, each tested by models that did not see it", every),
        ("photos, removed ones included, each tested likewise", (every or {}).get("on_raw_test")),
    ):
        if not figures:
            continue
        rows = [
            (name, comparison["train_photos"][name], figures[name]["top1"], figures[name]["macro_f1"])
            for name in ("raw", "clean")
        ]
        trained = f"{figures['test_photos']:,} {where}"
        title = f"Does cleaning help{model}? {trained}"
        terminal.table(title, ("trained on", "photos", "top-1", "macro F1"), rows)
        gains = []
        for name, word in (("top1", "top-1"), ("macro_f1", "macro F1")):
            gain = figures["difference"][name]
            gains.append(f"{word} {gain['difference']:+.3f} (95 % interval {gain['low']:+.3f} to {gain['high']:+.3f})")
        terminal.say("; ".join(gains))


def _folds(terminal: Terminal, crossed: Mapping[str, Any]) -> None:
    spread = f" ± {crossed['macro_f1_sd']:.3f}" if crossed["macro_f1_sd"] is not None else ""
    terminal.say(
        f"\nDoes it hang on the split? Over {crossed['folds']} folds the {crossed['model']} has a macro F1 of "
        f"{crossed['macro_f1']:.3f}{spread} (standard deviation)."
    )


def _search(terminal: Terminal, trials: Sequence[Mapping[str, Any]]) -> None:
    rates = [name for name in trials[0] if name.endswith("_learning_rate")]
    rows = [
        (
            "chosen" if each["chosen"] else "",
            each["val_loss"],
            each["dropout"],
            each["augmentation"],
            ", ".join(f"{each[name]:.2g}" for name in rates),
        )
        for each in trials
    ]
    header = ("", "validation loss", "dropout", "augmentation", "learning rates")
    terminal.table("Settings that were tried", header, rows)


def _curve(terminal: Terminal, curve: Mapping[str, Any]) -> None:
    rows = [(round(each["per_class"]), each["top1"]["mean"], each["macro_f1"]["mean"]) for each in curve["points"]]
    terminal.table(f"Fewer photos (by the {curve['model']})", ("training photos a class", "top-1", "macro F1"), rows)
    more = curve["more"].get("top1") or {}
    for key in ("twice", "thousand"):
        if answer := more.get(key):
            why = f": {answer['because']}" if answer.get("because") else ""
            gain = answer.get("gain")
            by = f" (top-1 {gain:+.3f}, {answer['low']:+.3f} to {answer['high']:+.3f})" if gain is not None else ""
            terminal.say(f"Would {answer['photos']:,.0f} photos a class help? {answer['answer']}{by}{why}")


def _danger(terminal: Terminal, danger: Mapping[str, Any], threshold: float | None) -> None:
    rows: list[tuple[object, ...]] = []
    if recall := danger.get("recall_poisonous"):
        rows.append(("poisonous or deadly species called so", recall["share"], recall["photos"]))
    for key, word in (
        ("poisonous_taken_for_edible", "poisonous or deadly taken for edible"),
        ("deadly_taken_for_edible", "deadly taken for edible"),
        ("unknown_taken_for_edible", "of unknown edibility taken for edible"),
    ):
        if taken := danger.get(key):
            rows.append((word, taken["share"], taken["photos"]))
    terminal.table("Edible or poisonous, if somebody trusted it", ("on the test photos", "share", "of photos"), rows)
    for pair in (danger.get("poisonous_taken_for_edible") or {}).get("pairs", ())[:5]:
        terminal.say(escape(f"  {pair['class']} taken for {pair['taken_for']}: {pair['photos']}"))
    for word, found in (danger.get("abstention") or {}).items():
        if found:
            terminal.say(_abstaining("poisonous or deadly" if word == "poisonous" else word, found))
    if threshold is not None:
        terminal.say(f"At and below a certainty of {threshold:.3f} predict says that it does not know.")
    for note in danger.get("notes", ()):
        terminal.say(escape(note))


def _abstaining(word: str, found: Mapping[str, Any]) -> str:
    at = f"Above a certainty of {found['threshold']:.3f} no" if found["threshold"] else "No"
    right = "" if found["top1"] is None else f", {found['top1']:.1%} of these rightly"
    bound = found["bound"] if found["bound_by_group"] is None else found["bound_by_group"]
    return (
        f"{at} test photo of a {word} species is called edible; {found['answered']:.1%} of all photos are answered "
        f"then{right}. Of further ones up to {bound:.1%} may still be called so."
    )


def _phone(terminal: Terminal, phone: Sequence[Mapping[str, Any]] | None) -> None:
    rows = [
        (
            each["variant"],
            each["speed"]["size_mb"],
            each["speed"]["one_thread"]["median_ms"],
            each["figures"]["top1"],
            each["figures"]["ece_calibrated"],
            "yes" if each["passed"] else each["refused_because"],
        )
        for each in phone or ()
        if each.get("speed")
    ]
    terminal.table("For a phone", ("file", "MB", "ms a photo", "top-1", "ECE", "passes"), rows)


def runs(terminal: Terminal, found: Sequence[Run], broken_off: Sequence[Path], dataset: Dataset) -> None:
    """Show the runs of a dataset, the newest first."""
    rows = [
        (each.name, each.architecture or "", each.when[:16].replace("T", " "), each.top1, each.macro_f1)
        for each in found
    ]
    terminal.table("Runs", ("run", "network", "when (UTC)", "top-1", "macro F1"), rows)
    option = escape(dataset.option)
    for left in broken_off:
        terminal.say(
            f"{escape(str(left))} was broken off: typed again, it goes on. Delete the folder to be rid of it.",
            whole=True,
        )
    if not found:
        terminal.say(f"There are no runs yet: [bold]shroomcurate train-baseline {option}[/]", whole=True)
    elif len(found) > 1:
        first, second = (shlex.quote(each.name) for each in found[:2])
        terminal.say(f"\nTo compare two: [bold]shroomcurate runs {second} {first} {option}[/]", whole=True)
    terminal.result(list(found))


def compared(terminal: Terminal, found: Comparison) -> None:
    """Show two runs on the test photos that both have seen."""
    rows = [
        (each.name, each.mode, each.top1, each.macro_f1, each.ece_calibrated) for each in (found.first, found.second)
    ]
    terminal.table("Each on its own test photos", ("run", "mode", "top-1", "macro F1", "ECE"), rows)
    terminal.say(
        f"\n{found.test_photos:,} test photos in common: the first alone is right on {found.only_first_right:,}, "
        f"the second alone on {found.only_second_right:,}."
    )
    for name, word in (("top1", "top-1"), ("macro_f1", "macro F1")):
        gain = found.difference[name]
        terminal.say(
            f"The second against the first, {word}: {gain['difference']:+.3f} "
            f"(95 % interval {gain['low']:+.3f} to {gain['high']:+.3f})"
        )
    terminal.say(f"[bold]{found.safety}[/]")
    terminal.result(found)


def predictions(terminal: Terminal, found: Predictions) -> None:
    """Show what a model says of photos, and the notice that belongs to it."""
    for each in found.photos:
        _prediction(terminal, each, found)
    if any(each.guesses for each in found.photos):
        terminal.say(
            f"\n{escape(found.run)} knows {found.classes:,} classes and takes anything else for one of them. "
            "Edibility is what published sources say of a species, see docs/edibility.md."
        )
    terminal.say(f"[bold]{found.safety}[/]")
    terminal.result(found)


def _prediction(terminal: Terminal, each: Prediction, found: Predictions) -> None:
    if each.problem:
        terminal.warn(f"{each.photo}: {each.problem}")
        return
    title = each.photo
    if not each.knows:
        title += f": the model does not know; it is not surer than {found.threshold:.1%}. It guesses"
    rows = [(guess.name, f"{guess.certainty:.1%}", guess.edibility, guess.note) for guess in each.guesses]
    terminal.table(title, ("may be", "certainty", "edibility", "note"), rows)
    if each.remark:
        terminal.warn(each.remark)
