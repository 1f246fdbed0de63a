"""Random search over the few settings that matter.

Bergstra and Bengio 2012, Random search for hyper-parameter optimization, https://jmlr.org/papers/v13/bergstra12a.html:
few settings matter, and which ones differs from dataset to dataset, so that points drawn at random find more than a
grid of as many.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shroomcurate.training.epochs import Record
from shroomcurate.training.finetune import TRIALS, Trainer

if TYPE_CHECKING:
    from shroomcurate.training.options import TrainOptions

#: Factors by which learning rates differ from the options', at most, either way.
RATE_FACTOR = 5.0
DROPOUT = (0.0, 0.5)
#: Factors by which augmentation differs.
AUGMENTATION = (0.3, 1.6)


def draw(options: TrainOptions, count: int) -> list[TrainOptions]:
    """Return as many settings: the options as they are, then others, drawn by the options' seed."""
    import numpy as np

    rng = np.random.default_rng((options.seed, 1))
    drawn = [options]
    for _ in range(count - 1):
        factors = np.exp(rng.uniform(-math.log(RATE_FACTOR), math.log(RATE_FACTOR), 4))
        changed: dict[str, Any] = {
            f"{name}_learning_rate": float(f"{getattr(options, f'{name}_learning_rate') * factor:.3g}")
            for name, factor in zip(("head", "block", "deep", "scratch"), factors, strict=True)
        }
        changed["dropout"] = round(float(rng.uniform(*DROPOUT)), 2)
        factor = rng.uniform(*AUGMENTATION)
        changed["augmentation"] = round(min(2.0, float(factor) * options.augmentation), 2)  # none stays none
        drawn.append(replace(options, **changed))
    return drawn


def search(trainer: Trainer) -> tuple[TrainOptions, list[dict[str, Any]]]:
    """Train with each of the settings drawn; return those with the least validation loss, and what each came to.

    The test photos are not asked.
    """
    found = []
    settings = draw(trainer.options, trainer.options.search)
    train = trainer.examples.rows("train")
    for number, options in enumerate(settings):
        folder = trainer.folder / TRIALS / f"search-{number}"
        trainer.train(train, options.seed, folder, options=options)
        found.append(
            {
                "val_loss": Record(folder).least_loss,
                "epochs": len(Record(folder).rows),
                "dropout": options.dropout,
                "augmentation": options.augmentation,
                **{
                    f"{name}_learning_rate": getattr(options, f"{name}_learning_rate")
                    for name in (("scratch",) if options.mode == "scratch" else ("head", "block", "deep"))
                },
            }
        )
    best = min(range(len(found)), key=lambda number: found[number]["val_loss"])
    return settings[best], [
        {**trial, "val_loss": trial["val_loss"] if math.isfinite(trial["val_loss"]) else None, "chosen": number == best}
        for number, trial in enumerate(found)
    ]
