"""Every architecture that can be fine-tuned: where it is cut, that it learns from there, that it can be saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shroomcurate.architectures import BACKBONES
from shroomcurate.backbone import empty_backbone, load_keras
from shroomcurate.training import network as module
from shroomcurate.training.fitting import compiled
from shroomcurate.training.network import build_network, let_learn, repeatable_keras
from shroomcurate.training.options import TrainOptions

#: Of the same layers as EfficientNetV2-S, and three times as many: only its cuts are looked at.
LARGEST = "efficientnet_v2_m"


#: The others take a minute and a half.
QUICK = ("mobilenet_v3_small",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in BACKBONES]
)
def test_it_is_cut_where_its_blocks_begin_and_learns_from_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repeatable_keras(0):
        backbone = empty_backbone(name)
        names = [layer.name for layer in backbone.layers]
        sizes = np.cumsum([layer.count_params() for layer in backbone.layers])
        last, deeper = names.index(BACKBONES[name].last_blocks), names.index(BACKBONES[name].deeper)
        assert 0 < deeper < last < len(names)
        assert 0.1 < 1 - sizes[last] / sizes[-1] < 1 - sizes[deeper] / sizes[-1] < 0.999
        assert backbone.input_shape == (None, 224, 224, 3)
        if name == LARGEST:
            return
        monkeypatch.setattr(module, "build_backbone", lambda *_: backbone)
        options = replace(TrainOptions(), architecture=name, augmentation=0)
        network = build_network(options, 3, tmp_path, 0)
        let_learn(network.features, BACKBONES[name].last_blocks)
        still = [weight for weight in network.features.non_trainable_variables if "seed" not in weight.path]
        frozen = [weight.numpy() for weight in still]
        learns = network.learner.trainable_variables
        before = [weight.numpy() for weight in learns]
        learner = compiled(network.learner, 1e-3)
        learner.run_eagerly = True
        photos = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
        assert np.isfinite(learner.train_on_batch(photos, np.array([0, 2]))[0])
        moved = [(weight.numpy() != old).any() for weight, old in zip(learns, before, strict=True)]
        assert np.mean(moved) > 0.5  # some of a random network see nothing of two photos
        assert all((weight.numpy() == old).all() for weight, old in zip(still, frozen, strict=True))
        network.classifier.save(tmp_path / "model.keras")
        if name in {"mobilenet_v3_small", "resnet50_v2", "convnext_tiny"}:  # of each kind one
            again = load_keras().models.load_model(tmp_path / "model.keras")
            assert again(photos).numpy() == pytest.approx(network.classifier(photos).numpy(), abs=1e-4)
