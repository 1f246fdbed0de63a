"""Every architecture that can be fine-tuned: builds, trains one step, exports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shroomcurate.architectures import BACKBONES
from shroomcurate.backbone import empty_backbone, load_keras
from shroomcurate.training.fitting import compiled, stages
from shroomcurate.training.network import build_network, let_learn, repeatable_keras
from shroomcurate.training.options import TrainOptions

LARGEST = "efficientnet_v2_m"  # of the same layers as EfficientNetV2-S, and takes three times as long


@pytest.mark.parametrize("name", BACKBONES)
def test_it_is_cut_where_its_last_blocks_and_its_upper_half_begin(name: str) -> None:
    model = empty_backbone(name)
    names = [layer.name for layer in model.layers]
    sizes = np.cumsum([layer.count_params() for layer in model.layers])
    last, deeper = names.index(BACKBONES[name].last_blocks), names.index(BACKBONES[name].deeper)
    assert 0 < deeper < last < len(names)
    assert 0.1 < 1 - sizes[last] / sizes[-1] < 1 - sizes[deeper] / sizes[-1] < 0.999
    assert model.input_shape == (None, 224, 224, 3)


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != LARGEST])
def test_it_trains_a_step_of_each_stage_and_can_be_saved_and_read_again(name: str, tmp_path: Path) -> None:
    weights = tmp_path / f"{name}.weights.h5"
    with repeatable_keras(0):
        empty_backbone(name).save_weights(weights)
        options = replace(TrainOptions(), architecture=name, augmentation=0)
        network = build_network(options, 3, weights, 0)
        photos, labels = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)), np.array([0, 2])
        for stage in stages(options)[1:]:
            let_learn(network.features, stage.unfreeze_from)
            before = [weight.numpy() for weight in network.learner.trainable_variables]
            learner = compiled(network.learner, stage.learning_rate)
            learner.run_eagerly = True
            assert np.isfinite(learner.train_on_batch(photos.astype(np.float32), labels)[0])
            moved = [
                (weight.numpy() != old).any() for weight, old in zip(learner.trainable_variables, before, strict=True)
            ]
            assert np.mean(moved) > 0.5  # some of a random network see nothing of two photos
        network.classifier.save(tmp_path / "model.keras")
        again = load_keras().models.load_model(tmp_path / "model.keras")
        one, other = (model(photos.astype(np.float32)).numpy() for model in (network.classifier, again))
    assert other == pytest.approx(one, abs=1e-4)
    assert one.shape == (2, 3)
