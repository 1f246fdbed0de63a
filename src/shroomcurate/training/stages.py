"""The modes, from the examples to what they give: the model's outputs, and the answers about the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadOption
from shroomcurate.progress import Progress
from shroomcurate.training.curve import learning_curve
from shroomcurate.training.data import REMOVED, UNREADABLE, read_vectors
from shroomcurate.training.finetune import Trainer, save_model
from shroomcurate.training.folds import cross_validate
from shroomcurate.training.network import Network, pixels_of
from shroomcurate.training.pixels import decode, forget
from shroomcurate.training.probe import choose_head, fold_recipe, probe_recipe, save_head
from shroomcurate.training.search import search
from shroomcurate.training.verdict import raw_against_clean, raw_against_clean_by_fold

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shroomcurate.training.data import Examples
    from shroomcurate.training.fitting import Tracker
    from shroomcurate.training.folds import Fitted
    from shroomcurate.training.options import TrainOptions
    from shroomcurate.training.verdict import Recipe

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

#: One fold is tested, one tells when to stop, and one at least is to learn from.
_FOLDS = 3


@dataclass(frozen=True)
class Trained:
    """What a mode gives back."""

    examples: Examples
    val: Floats
    """Logits of the val photos, in the order of their rows."""
    test: Floats
    """Logits of the test photos, in the order of their rows."""
    answers: dict[str, Any]
    """``raw_vs_clean``, ``learning_curve``, ``cross_validation``, ``search``; None where there is no answer."""
    notes: list[str]
    network: Network | None = None
    """The trained network; None for the probe."""
    trainer: Trainer | None = None


@dataclass(frozen=True)
class Answerer:
    """A model that can be asked about the dataset: it is trained anew for each answer."""

    model: str
    seeded: Recipe
    """Whose trainings differ from seed to seed."""
    plain: Recipe
    """The same, without a resampling of the photos."""
    fitted: Fitted
    by_fold: Recipe | None = None
    """One that chooses nothing by the val photos, so that they can be tested too."""


def train_probe(
    dataset: Dataset, examples: Examples, options: TrainOptions, folder: Path, progress: Progress
) -> Trained:
    """Train the linear probe; write ``probe.npz`` into the folder."""
    vectors = read_vectors(dataset, examples)
    progress(0, 1, "train probe")
    head = choose_head(vectors, examples, "train")
    save_head(head, folder)
    progress(1, 1, "train probe")
    val, test = (head.logits(vectors[examples.rows(split)]) for split in ("val", "test"))
    probe = _probe(vectors, examples)
    answers, notes = _answers(examples, options, {"probe": probe, "same": probe}, progress)
    return Trained(examples, val, test, answers, notes)


def train_network(
    dataset: Dataset,
    examples: Examples,
    options: TrainOptions,
    weights: Path | None,
    folder: Path,
    progress: Progress,
    trackers: Sequence[Tracker] = (),
) -> Trained:
    """Train a network; write ``model.keras`` and ``history.csv``. Goes on where a killed one ended."""
    folds = len(set(examples.fold[examples.rows("train", "val", "test")].tolist()))
    if options.cross_validate == "same" and folds < _FOLDS:
        raise BadOption(
            f"With {folds} folds there is none to tell the network when to stop.",
            f"Give --folds {_FOLDS} or more, or --cross-validate probe.",
        )
    decoded = decode(examples.places, folder, pixels_of(options.mode), options.resize, progress)
    examples = examples.without_unreadable(decoded.readable)
    vectors = read_vectors(dataset, examples) if dataset.path("embeddings.parquet").exists() else None
    trainer = Trainer(decoded.photos, examples, options, weights, folder, progress)
    trials: list[dict[str, Any]] | None = None
    if options.search:
        options, trials = search(trainer)
        trainer = replace(trainer, options=options)
    network = trainer.train(examples.rows("train"), options.seed, folder, trackers=trackers)
    save_model(network.classifier, folder)
    val, test = (trainer.predict(network, examples.rows(split)) for split in ("val", "test"))
    _refuse_diverged(val, test)
    answerers = {"same": Answerer(options.mode, trainer.recipe, trainer.recipe, _network_fitted(trainer))}
    if vectors is not None:
        answerers["probe"] = _probe(vectors, examples)
    answers, notes = _answers(examples, options, answerers, progress)
    if unreadable := examples.split.count(UNREADABLE):
        one = unreadable == 1
        notes.append(
            f"{unreadable} photo{'' if one else 's'} could not be read and {'was' if one else 'were'} left out"
        )
    return Trained(examples, val, test, answers | {"search": trials}, notes, network, trainer)


def _refuse_diverged(*logits: Floats) -> None:
    import numpy as np

    if not all(np.isfinite(each).all() for each in logits):
        raise BadOption(
            "The network says nothing that is a number: its training has diverged.",
            "Try a larger --batch-size, another --seed, or another --architecture.",
        )


def forget_helpers(trained: Trained) -> None:
    """Delete what a killed training would have gone on from."""
    if trained.trainer is not None:
        forget(trained.trainer.folder)  # it takes longest, and is made again soonest: the record goes last
        trained.trainer.forget()


# -- questions about the dataset -------------------------------------------------------------------------------


def _probe(vectors: Floats, examples: Examples) -> Answerer:
    folded = fold_recipe(vectors, examples)
    return Answerer(
        "probe",
        probe_recipe(vectors, examples, resampled=True),
        probe_recipe(vectors, examples),
        lambda outside, inside: folded(outside, 0)(inside),
        folded,
    )


def _answers(
    examples: Examples, options: TrainOptions, answerers: Mapping[str, Answerer], progress: Progress
) -> tuple[dict[str, Any], list[str]]:
    """Ask what the options want to know; return the answers, and in words what was not answered and why."""
    seeds = list(range(options.seed, options.seed + options.seeds))
    with_intervals: dict[str, Any] = {"resamples": options.resamples, "seed": options.seed, "progress": progress}

    def compare(asked: Answerer) -> Any:
        found = raw_against_clean(examples, asked.seeded, seeds=seeds, model_name=asked.model, **with_intervals)
        if asked.by_fold:
            every = raw_against_clean_by_fold(examples, asked.by_fold, model_name=asked.model, **with_intervals)
            found["by_fold"] = every
        return found

    def draw(asked: Answerer) -> Any:
        return {"model": asked.model, **learning_curve(examples, asked.plain, seeds=seeds, **with_intervals)}

    def cross(asked: Answerer) -> Any:
        return cross_validate(examples, asked.fitted, asked.model)

    answers: dict[str, Any] = {}
    notes = []
    for key, option, ask, otherwise in (
        ("raw_vs_clean", options.raw_vs_clean, compare, "raw was not compared with cleaned"),
        ("learning_curve", options.learning_curve, draw, "no learning curve was drawn"),
        ("cross_validation", options.cross_validate, cross, "there was no cross-validation"),
    ):
        if option == "none":
            why = "not asked for"
        elif key == "raw_vs_clean" and not len(examples.rows(REMOVED)):
            why = "cleaning removed no photo that could be added to training"
        elif option not in answerers:
            why = "that needs embeddings.parquet, which clean writes"
        else:
            answers[key] = ask(answerers[option])
            continue
        answers[key] = None
        notes.append(f"{otherwise}: {why}")
    return answers, notes


def _network_fitted(trainer: Trainer) -> Fitted:
    """Return what trains a network on folds; the next one tells when to stop."""

    def fitted(outside: Ints, inside: Ints) -> Floats:
        folds = trainer.examples.fold[outside]
        later = folds[folds > trainer.examples.fold[inside[0]]]
        watching = folds == (later if len(later) else folds).min()
        return trainer.recipe(outside[~watching], trainer.options.seed, outside[watching])(inside)

    return fitted
