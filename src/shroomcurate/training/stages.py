"""The two modes from the examples to what they give: the model's outputs, and raw against cleaned."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.dataset import Dataset
from shroomcurate.progress import Progress
from shroomcurate.training.data import UNREADABLE, read_vectors
from shroomcurate.training.evaluation import bootstrap_difference, confusion_matrix, macro_f1
from shroomcurate.training.finetune import decoded, finetune
from shroomcurate.training.probe import Head, choose_head, cross_validate, save_head

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training import TrainOptions
    from shroomcurate.training.data import Examples

    Floats = NDArray[np.floating[Any]]


class Trained(NamedTuple):
    """What either mode gives back."""

    examples: Examples
    val: Floats
    """Logits of the val photos, in the order of their rows."""
    test: Floats
    """Logits of the test photos, in the order of their rows."""
    raw_vs_clean: dict[str, Any] | None
    cross_validation: dict[str, Any] | None
    notes: list[str]


def train_probe(
    dataset: Dataset, examples: Examples, options: TrainOptions, folder: Path, progress: Progress
) -> Trained:
    """Train the linear probe; write ``probe.npz`` into the folder."""
    vectors = read_vectors(dataset, examples)
    progress(0, 3, "train probe")
    head = choose_head(vectors, examples, "train")
    save_head(head, folder)
    progress(1, 3, "train probe")
    notes = _why_not_compared(examples, options)
    compared = None if notes else _compare_by_probe(vectors, examples, head, options)
    progress(2, 3, "train probe")
    crossed = cross_validate(vectors, examples, head.strength)
    progress(3, 3, "train probe")
    val, test = (head.logits(vectors[examples.rows(split)]) for split in ("val", "test"))
    return Trained(examples, val, test, compared, crossed, notes)


def train_network(
    dataset: Dataset, examples: Examples, options: TrainOptions, weights: Path, folder: Path, progress: Progress
) -> Trained:
    """Fine-tune the network; write ``model.keras`` and ``history.csv``, of a raw run into ``raw/``."""
    with decoded(examples, folder, progress) as (photos, readable):
        examples = examples.without_unreadable(readable)

        def fit(target: Path, *splits: str) -> tuple[Floats, Floats]:
            target.mkdir(exist_ok=True)
            rows = examples.rows(*splits)
            return finetune(photos, examples, rows, options=options, weights=weights, folder=target, progress=progress)

        val, test = fit(folder, "train")
        notes, compared = _why_not_compared(examples, options), None
        if not notes and options.compare == "same":
            compared = compare(examples, "finetune", fit(folder / "raw", "train", "removed")[1], test, options)
    if not notes and options.compare == "probe":
        if dataset.path("embeddings.parquet").exists():
            vectors = read_vectors(dataset, examples)
            compared = _compare_by_probe(vectors, examples, choose_head(vectors, examples, "train"), options)
        else:
            notes.append("raw was not compared with cleaned: that needs embeddings.parquet, which clean writes")
    if unreadable := examples.split.count(UNREADABLE):
        one = unreadable == 1
        notes.append(
            f"{unreadable} photo{'' if one else 's'} could not be read and {'was' if one else 'were'} left out"
        )
    return Trained(examples, val, test, compared, None, notes)


def _why_not_compared(examples: Examples, options: TrainOptions) -> list[str]:
    if options.compare == "none":
        return ["raw was not compared with cleaned: not asked for"]
    if not len(examples.rows("removed")):
        return ["raw was not compared with cleaned: cleaning removed no photo that could be added to training"]
    return []


def _compare_by_probe(vectors: Floats, examples: Examples, head: Head, options: TrainOptions) -> dict[str, Any]:
    raw = choose_head(vectors, examples, "train", "removed")
    test = vectors[examples.rows("test")]
    return compare(examples, "probe", raw.logits(test), head.logits(test), options)


def compare(examples: Examples, model: str, raw: Floats, clean: Floats, options: TrainOptions) -> dict[str, Any]:
    """Return how two models of the same recipe do on the same clean test photos, from their logits."""
    test = examples.rows("test")
    truth, groups = examples.truth[test], [examples.groups[row] for row in test]
    classes = len(examples.labels)
    called = {"raw": raw.argmax(axis=1), "clean": clean.argmax(axis=1)}
    figures = {
        name: {
            "top1": float((predicted == truth).mean()),
            "macro_f1": macro_f1(confusion_matrix(truth, predicted, classes)),
        }
        for name, predicted in called.items()
    }
    gain = bootstrap_difference(
        truth,
        called["raw"],
        called["clean"],
        groups,
        classes=classes,
        resamples=options.resamples,
        seed=options.seed,
    )
    added = Counter(examples.reasons[row] for row in examples.rows("removed"))
    return {
        "model": model,
        "train_photos": {
            "raw": len(examples.rows("train", "removed")),
            "clean": len(examples.rows("train")),
        },
        "added": dict(sorted(added.items())),
        **figures,
        "difference": gain,
        "test_photos": len(test),
        "test_groups": len(set(groups)),
        "resamples": options.resamples,
    }
