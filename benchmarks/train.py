"""`train-baseline`'s fine-tuning beside the script of Keras' tutorial, same network, same photos, same epochs.

Run: ``python -m benchmarks.train DATASET --weights FOLDER [--turns 2]`` on a dataset that has been cleaned. The other
side is what one writes after https://keras.io/guides/transfer_learning/: ``image_dataset_from_directory``, augmentation
by Keras' layers, a new head on the frozen network, then its last blocks, then deeper. Each side has a process of its
own, which has loaded TensorFlow and the network before the clock starts; they take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shroomcurate.dataset import Dataset

BATCH, DROPOUT = 32, 0.2
EPOCHS = {"head": 5, "last blocks": 5, "deeper": 2}
RATES = {"head": 4e-3, "last blocks": 2e-4, "deeper": 5e-5}


def ours(dataset: Dataset, weights: Path, seed: int) -> dict[str, Any]:
    """Train as the command does, without its answers about the dataset; return seconds and accuracy."""
    from shroomcurate.backbone import find_weights
    from shroomcurate.training import TrainOptions
    from shroomcurate.training.data import read_examples
    from shroomcurate.training.epochs import Record
    from shroomcurate.training.finetune import Trainer
    from shroomcurate.training.pixels import decode

    options = TrainOptions(
        head_epochs=EPOCHS["head"],
        block_epochs=EPOCHS["last blocks"],
        deep_epochs=EPOCHS["deeper"],
        batch_size=BATCH,
        dropout=DROPOUT,
        seed=seed,
    )
    examples = read_examples(dataset)
    file = find_weights(options.architecture, weights)
    stages: dict[str, float] = {}
    begun = last = time.perf_counter()

    def progress(done: int, total: int, label: str) -> None:
        nonlocal last
        if done == total:
            now = time.perf_counter()
            stages[label] = stages.get(label, 0) + now - last
            last = now

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        decoded = decode(examples.places, folder, 224, "crop", progress)
        trainer = Trainer(decoded.photos, examples, options, file, folder, progress)
        network = trainer.train(examples.rows("train"), seed, folder)
        seconds = time.perf_counter() - begun
        test = examples.rows("test")
        right = float((trainer.predict(network, test).argmax(axis=1) == examples.truth[test]).mean())
        epochs = len(Record(folder).rows)
    return {
        "seconds": seconds,
        "epochs": epochs,
        "photos": len(examples.rows("train")),
        "top1": right,
        "stages": stages,
    }


def tutorial(dataset: Dataset, weights: Path, seed: int) -> dict[str, Any]:
    """Train as the tutorial does."""
    from shroomcurate.backbone import build_backbone, find_weights, load_keras
    from shroomcurate.training.data import read_examples
    from shroomcurate.training.network import first_learning

    keras = load_keras()
    keras.utils.set_random_seed(seed)
    examples = read_examples(dataset)
    base = build_backbone("mobilenet_v3_small", find_weights("mobilenet_v3_small", weights))
    with tempfile.TemporaryDirectory() as name:
        for split in ("train", "val", "test"):
            for row in examples.rows(split):
                link = Path(name) / split / examples.labels[examples.truth[row]] / examples.places[row].name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(examples.places[row].resolve())

        def photos(split: str) -> Any:
            return keras.utils.image_dataset_from_directory(
                Path(name) / split, image_size=(224, 224), batch_size=BATCH, seed=seed, crop_to_aspect_ratio=True
            ).prefetch(2)

        begun = time.perf_counter()
        stages = _tutorial_stages(keras, base, photos, len(examples.labels), first_learning("mobilenet_v3_small"))
        seconds = time.perf_counter() - begun
        model = stages.pop("model")
        right = model.evaluate(photos("test"), verbose=0)[1]
    return {
        "seconds": seconds,
        "epochs": sum(EPOCHS.values()),
        "photos": len(examples.rows("train")),
        "top1": float(right),
        "stages": stages,
    }


def _tutorial_stages(
    keras: Any, base: Any, photos: Callable[[str], Any], classes: int, cuts: tuple[str, str]
) -> dict[str, Any]:
    layers = keras.layers
    augmentation = keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.08),
            layers.RandomTranslation(0.1, 0.1),
            layers.RandomZoom((-0.25, 0.05)),
            layers.RandomContrast(0.2, value_range=(0, 255)),
            layers.RandomBrightness(0.15, value_range=(0, 255)),
        ]
    )
    inputs = keras.Input((224, 224, 3))
    flow = layers.Dropout(DROPOUT)(base(augmentation(inputs), training=False))
    model = keras.Model(inputs, layers.Dense(classes)(flow))
    train, val = photos("train"), photos("val")
    found: dict[str, Any] = {}
    for stage, cut in zip(EPOCHS, (None, *cuts), strict=True):
        learns, base.trainable = False, True
        for layer in base.layers:
            learns = learns or layer.name == cut
            layer.trainable = learns and not isinstance(layer, layers.BatchNormalization)
        model.compile(
            keras.optimizers.Adam(RATES[stage]),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        begun = time.perf_counter()
        model.fit(train, validation_data=val, epochs=EPOCHS[stage], verbose=0)
        found[f"train {stage}"] = time.perf_counter() - begun
    return found | {"model": model}


SIDES = {"the tutorial's script": tutorial, "train-baseline": ours}


def main() -> None:
    """Run both sides in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.side:
        dataset = Dataset(wanted.dataset)
        os.write(1, json.dumps(SIDES[wanted.side](dataset, wanted.weights, wanted.seed)).encode())
        return
    from shroomcurate.split import split

    split(Dataset(wanted.dataset))
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for seed in range(wanted.turns):
        for side in SIDES:
            found[side].append(_turn(wanted, side, seed))
    _show(found)


def _turn(wanted: argparse.Namespace, side: str, seed: int) -> dict[str, Any]:
    words = [str(wanted.dataset), "--weights", str(wanted.weights), "--side", side, "--seed", str(seed)]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", *words], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise SystemExit(ended.stderr)
    measured: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    print(f"{side}, turn {seed + 1}: {measured['seconds']:.0f} s, top-1 {measured['top1']:.3f}", file=sys.stderr)
    return measured


def _show(found: dict[str, list[dict[str, Any]]]) -> None:
    print("| | seconds an epoch | photos/s | top-1, each turn | seconds of the last turn |\n|---|---|---|---|---|")
    an_epoch = {}
    for side, turns in found.items():
        an_epoch[side] = statistics.median(turn["seconds"] / turn["epochs"] for turn in turns)
        right = ", ".join(f"{turn['top1']:.3f}" for turn in turns)
        stages = ", ".join(f"{name} {seconds:.0f}" for name, seconds in turns[-1]["stages"].items())
        rate = turns[0]["photos"] / an_epoch[side]
        print(f"| {side} | {an_epoch[side]:.2f} | {rate:.0f} | {right} | {stages} |")
    one, other = an_epoch.values()
    print(f"the tutorial's script takes {one / other:.2f} times as long")


if __name__ == "__main__":
    main()
