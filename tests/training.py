"""A small network in the place of MobileNetV3-Small, and photos to train it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import pytest

from shroomcurate.backbone import load_keras
from shroomcurate.dataset import Dataset
from shroomcurate.split import split
from shroomcurate.training import network
from shroomcurate.training.network import first_learning
from tests.test_groups import judge

LAST_BLOCKS, DEEPER = first_learning("mobilenet_v3_small")


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put three random convolutions in the place of MobileNetV3-Small; return a file that passes for its weights."""

    def build(_name: str, weights: Path) -> Any:
        return tiny()

    monkeypatch.setattr(network, "build_backbone", build)
    with h5py.File(tmp_path / "weights.h5", "w"):
        return tmp_path / "weights.h5"


def tiny() -> Any:
    keras = load_keras()
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((224, 224, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 8, strides=8, name="first"),
        keras.layers.BatchNormalization(name="first_norm"),
        keras.layers.Conv2D(8, 3, activation="relu", name=DEEPER),
        keras.layers.Conv2D(8, 3, activation="relu", name=LAST_BLOCKS),
        keras.layers.BatchNormalization(name="last_norm"),
        keras.layers.GlobalAveragePooling2D(),
    ]
    return keras.Sequential(layers, name="tiny")


def with_removed_photos(dataset: Dataset) -> Dataset:
    """Remove every sixth photo, for scenery, and split."""
    places = dataset.photos()
    rows = [
        {"path": path, "photo_id": int(Path(path).stem), "class": path[7], "kept": i % 6 != 5, "reason": "scenery"}
        for i, path in enumerate(places)
    ]
    judge(dataset, rows)
    for row in rows:
        if not row["kept"]:
            target = dataset.locate(str(row["path"]), "scenery")
            target.parent.mkdir(parents=True, exist_ok=True)
            places[str(row["path"])].rename(target)
    split(dataset)
    return dataset
