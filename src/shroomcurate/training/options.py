"""How to train: every setting, its default, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from shroomcurate.architectures import BACKBONES, DEFAULT_BACKBONE
from shroomcurate.errors import BadOption

MODES = ("finetune", "probe", "scratch")
#: What answers a question about the dataset: the linear classifier, the mode's own network, or nobody.
ANSWERED_BY = ("probe", "same", "none")
RESIZES = ("crop", "pad")
BALANCES = ("weights", "oversample", "none")
TRACKERS = ("tensorboard", "mlflow", "wandb")
#: The LiteRT files for phones: as trained; also float16 and int8; also int8 that is fine-tuned for it.
PHONES = {
    "float32": ("float32",),
    "quick": ("float32", "float16", "int8"),
    "full": ("float32", "float16", "int8", "int8_qat"),
}
#: NumPy, and so Keras, take no seed from here on.
_SEEDS = 2**32


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Parameters
    ----------
    mode
        ``finetune`` trains a network that knows ImageNet, minutes to hours. ``probe`` trains only a linear classifier
        on the stored embeddings: seconds, some points less accurate. ``scratch`` trains a small network that knows
        nothing: many more photos and epochs for less.
    architecture
        The network of ``finetune``, a key of :data:`shroomcurate.architectures.BACKBONES`.
    raw_vs_clean, learning_curve, cross_validate
        Who answers whether cleaning helped, whether more photos would help, and how far the result depends on the
        split. ``probe``: the linear classifier, whatever the mode, for it costs seconds. ``same``: the mode's own
        network, trained anew for each answer. ``none``: not asked.
    seeds
        Trainings by which raw is compared with cleaned, and by which the learning curve is drawn.
    head_epochs, block_epochs, deep_epochs, scratch_epochs
        Epochs at most for the new head on the frozen network, for the last blocks, and for about the upper half;
        for all of a network from scratch. All stop early. The head sees each photo's features, computed once, so its
        epochs cost next to nothing. 0 leaves a stage of fine-tuning out.
    batch_size
        32, as in Keras' own guides; larger ones need more memory and, on a CPU, save no time.
    head_learning_rate, block_learning_rate, deep_learning_rate, scratch_learning_rate
        For Adam. The blocks learn twenty times more slowly than the head, so that they keep what ImageNet taught
        them, and what lies deeper more slowly again. Measured on four species with 125 training photos each: with
        0.004 the head is within a point of its best after 5 epochs, with 0.001 not after 8.
    dropout
        Share of the features that a training step does not see.
    augmentation
        How far photos are turned, shifted, zoomed and lit in training, as a multiple of the usual; 0: not at all.
    resize
        ``crop`` scales the shorter side and cuts out the middle: a mushroom often fills the frame. ``pad`` keeps all of
        the photo and fills up with black.
    balance
        Classes of unequal size: ``weights`` lets photos of rare classes count more, ``oversample`` shows them more
        often. Where classes are equal, weights change nothing; measured on six genera of 13 to 196 training photos they
        raised macro F1 from 0.46 to 0.76, and top-1 from 0.86 to 0.92.
    search
        Trainings with settings drawn at random, of which the one with the least validation loss is kept; 0: none.
    track
        Of :data:`TRACKERS`, which also get the figures of each epoch. Their packages are extras.
    phone
        Which LiteRT files are written: a key of :data:`PHONES`. The last costs some epochs more.
    weights
        The file or folder of ImageNet weights; None: see :func:`shroomcurate.backbone.find_weights`.
    resamples
        Bootstrap samples of an interval; 1,000 settle its ends to about 2 % of its width.
    seed
        Of everything random in training and in the bootstrap.
    """

    mode: str = "finetune"
    architecture: str = DEFAULT_BACKBONE
    raw_vs_clean: str = "probe"
    learning_curve: str = "probe"
    cross_validate: str = "probe"
    seeds: int = 5
    head_epochs: int = 20
    block_epochs: int = 10
    deep_epochs: int = 5
    scratch_epochs: int = 60
    batch_size: int = 32
    head_learning_rate: float = 4e-3
    block_learning_rate: float = 2e-4
    deep_learning_rate: float = 5e-5
    scratch_learning_rate: float = 1e-3
    dropout: float = 0.2
    augmentation: float = 1.0
    resize: str = "crop"
    balance: str = "weights"
    search: int = 0
    track: tuple[str, ...] = ()
    phone: str = "quick"
    weights: Path | None = None
    resamples: int = 1000
    seed: int = 0

    def heeded(self) -> frozenset[str]:
        """Return the names of the settings that count in this mode; of the others any value is the same run."""
        everyone = {"mode", "raw_vs_clean", "learning_curve", "cross_validate", "seeds", "resamples", "seed"}
        if self.mode == "probe":
            return frozenset(everyone)
        networks = {"batch_size", "dropout", "augmentation", "resize", "balance", "search", "track", "phone", "weights"}
        stages = ("scratch",) if self.mode == "scratch" else ("head", "block", "deep")
        own = {f"{stage}_{what}" for stage in stages for what in ("epochs", "learning_rate")}
        named = {"architecture"} if self.mode == "finetune" else set()
        return frozenset(everyone | networks | own | named)

    def __post_init__(self) -> None:
        _one_of(self, MODES, "mode")
        _one_of(self, tuple(BACKBONES), "architecture")
        _one_of(self, ANSWERED_BY, "raw_vs_clean", "learning_curve", "cross_validate")
        _one_of(self, RESIZES, "resize")
        _one_of(self, BALANCES, "balance")
        _one_of(self, tuple(PHONES), "phone")
        for name in self.track:
            if name not in TRACKERS:
                raise BadOption(f"--track names {name!r}.", f"Give one or more of: {', '.join(TRACKERS)}.")
        _at_least(self, 1, "seeds", "head_epochs", "scratch_epochs", "batch_size", "resamples")
        _at_least(self, 0, "block_epochs", "deep_epochs", "search", "seed")
        for name in ("head", "block", "deep", "scratch"):
            rate = getattr(self, f"{name}_learning_rate")
            if not (math.isfinite(rate) and rate > 0):
                raise BadOption(f"{name}_learning_rate is {rate}.", "Give a number above 0, such as 0.001.")
        if self.seed + self.seeds > _SEEDS:
            raise BadOption(f"--seed is {self.seed}.", f"Give {_SEEDS - self.seeds} or less.")
        if not 0 <= self.dropout < 1:
            raise BadOption(f"dropout is {self.dropout}.", "Give a number from 0 to below 1, such as 0.2.")
        if not 0 <= self.augmentation <= 2:
            raise BadOption(f"--augmentation is {self.augmentation}.", "Give a number from 0 to 2; 1 is the usual.")


def _typed(name: str) -> str:
    """Return a setting's name as it is typed on the command line; there is no option for the resamples."""
    return name if name == "resamples" else f"--{name.replace('_', '-')}"


def _one_of(options: TrainOptions, allowed: tuple[str, ...], *names: str) -> None:
    for name in names:
        if getattr(options, name) not in allowed:
            raise BadOption(f"{_typed(name)} is {getattr(options, name)!r}.", f"Give one of: {', '.join(allowed)}.")


def _at_least(options: TrainOptions, least: int, *names: str) -> None:
    for name in names:
        if getattr(options, name) < least:
            raise BadOption(f"{_typed(name)} is {getattr(options, name)}.", f"Give {least} or more.")
