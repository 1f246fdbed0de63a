"""ImageNet's head: what it sees is summed over kinds, and it is found, downloaded and converted like the weights."""

from __future__ import annotations

import hashlib
import shutil
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shroomcurate import backbone as backbone_module
from shroomcurate.architectures import BACKBONES
from shroomcurate.backbone import build_head, empty_backbone, find_head, find_weights
from shroomcurate.dataset import Dataset, file_hash, read_receipt, read_table
from shroomcurate.embed import EmbedOptions, embed
from shroomcurate.embed.engine import head_model, litert_head, open_engine
from shroomcurate.errors import WeightsMissing
from shroomcurate.evidence import IMAGENET_COLUMNS, imagenet_evidence
from shroomcurate.evidence.imagenet import CLASSES, KINDS
from shroomcurate.vectors import read_vectors
from tests.conftest import jpeg
from tests.test_backbone import hdf5, served

SMALL = BACKBONES["mobilenet_v3_small"]
WEIGHTS, HEAD = "mobilenet_v3_small_imagenet_notop.weights.h5", "mobilenet_v3_small_imagenet_top.weights.h5"


@pytest.fixture(autouse=True)
def one_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Converting takes longer than all the rest, so all tests share what was converted."""
    monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path_factory.getbasetemp() / "converted"))
    monkeypatch.delenv("SHROOMCURATE_WEIGHTS", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with one network's weights, without and with its head, and the whole network. Random weights."""
    keras = backbone_module.load_keras()
    keras.utils.set_random_seed(1)
    whole = keras.applications.MobileNetV3Small(input_shape=(224, 224, 3), weights=None, classes=CLASSES)
    for layer in whole.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    whole(pixels(4), training=True)  # the statistics that normalise: otherwise every vector is nearly nought
    last = next(layer for layer in reversed(whole.layers) if layer.weights)
    last.set_weights([20 * value for value in last.get_weights()])  # probabilities that differ
    body = empty_backbone(SMALL.name)
    body.set_weights(whole.get_weights()[: len(body.get_weights())])
    folder = tmp_path_factory.mktemp("network")
    body.save_weights(folder / WEIGHTS)
    whole.save_weights(folder / HEAD)
    return folder, whole


def pixels(count: int) -> np.ndarray[Any, Any]:
    coarse = np.random.default_rng(1).integers(0, 255, (count, 14, 14, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((224, 224))) for each in coarse]).astype(np.float32)


def tree(root: Path, count: int) -> Dataset:
    for number in range(count):
        file = root / "pictures" / "Class" / f"p{number:03}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(number, hue=number * 40, size=(300, 280)))
    return Dataset(images=root / "pictures")


def evidence_of(dataset: Dataset) -> dict[str, list[float | None]]:
    table = read_table(dataset.path("embeddings.parquet"))
    return {column.name: table[column.name].to_pylist() for column in IMAGENET_COLUMNS}


# -- kinds -------------------------------------------------------------------------------------------------------


def test_no_class_of_imagenet_stands_in_two_kinds_or_twice_in_one() -> None:
    for indices in KINDS.values():
        assert len(set(indices)) == len(indices) > 0
        assert all(0 <= index < CLASSES for index in indices)
    for one, other in combinations(KINDS, 2):
        assert not set(KINDS[one]) & set(KINDS[other]), (one, other)
    assert [column.name for column in IMAGENET_COLUMNS] == [f"imagenet_{kind}" for kind in KINDS]


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.1, 50))
def test_the_kinds_of_any_probabilities_are_shares_of_one_whole(seed: int, sharpness: float) -> None:
    logits = np.random.default_rng(seed).normal(0, sharpness, CLASSES + 1)
    probabilities = np.exp(logits - logits.max())
    probabilities = (probabilities / probabilities.sum()).astype(np.float32)[None]
    found = imagenet_evidence(probabilities)
    assert found.shape == (1, len(IMAGENET_COLUMNS))
    assert (found >= 0).all()
    assert found.sum() <= 1.001
    assert (found == imagenet_evidence(probabilities[:, 1:])).all(), "the background is no class of ImageNet"


@pytest.mark.parametrize(
    ("kind", "index"), [("fungus", 992), ("microscopic", 111), ("scenery", 970), ("person", 981), ("document", 916)]
)
def test_a_class_counts_for_its_kind_with_and_without_a_background(kind: str, index: int) -> None:
    """Agaric, nematode, alp, ballplayer, web site."""
    for classes in (CLASSES, CLASSES + 1):
        probabilities = np.zeros((2, classes), np.float32)
        probabilities[1, index + classes - CLASSES] = 1
        nothing, found = imagenet_evidence(probabilities)
        assert not nothing.any()
        expected = [column.name == f"imagenet_{kind}" for column in IMAGENET_COLUMNS]
        assert found.tolist() == expected


# -- where the head comes from -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=list(BACKBONES))
def test_the_head_lies_beside_the_weights_under_a_name_of_this_backbone(tmp_path: Path, backbone: Any) -> None:
    weights = hdf5(tmp_path / backbone.known_files[0])
    for other in set(BACKBONES) - {backbone.name}:
        for name in BACKBONES[other].known_head_files:
            hdf5(tmp_path / name)
    assert find_head(backbone.name, weights) is None
    for name in reversed(backbone.known_head_files):
        head = hdf5(tmp_path / name)
        assert find_head(backbone.name, weights) == head
    for first, second in pairwise(backbone.known_head_files):
        (tmp_path / first).write_bytes(b"cut off")
        with pytest.raises(WeightsMissing, match=first):
            find_head(backbone.name, weights)
        (tmp_path / first).unlink()
        assert find_head(backbone.name, weights) == tmp_path / second


def test_nothing_is_downloaded_for_weights_that_somebody_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone_module, "_download", lambda *_: pytest.fail("downloaded"))
    assert find_head(SMALL.name, hdf5(tmp_path / SMALL.keras_file)) is None
    cached = hdf5(tmp_path / "keras" / "models" / BACKBONES["convnext_tiny"].keras_file)
    assert find_head("convnext_tiny", cached) is None  # its head does not start at the vector


def test_keras_downloads_the_head_too_verified_and_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    backbone_module.load_keras()
    from keras.src.applications import mobilenet_v3

    assert SMALL.keras_head_file is not None
    files = [hdf5(tmp_path / "bucket" / name) for name in (SMALL.keras_head_file, SMALL.keras_file)]
    files[0].write_bytes(files[0].read_bytes() + b"\0" * 8)  # so that the two differ
    hashes = tuple(hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() for file in files)
    with served(tmp_path / "bucket") as address:
        monkeypatch.setattr(mobilenet_v3, "BASE_WEIGHT_PATH", address)
        monkeypatch.setitem(mobilenet_v3.WEIGHTS_HASHES, SMALL.keras_hash, ("0" * 32, hashes[1]))
        weights = find_weights(SMALL.name)
        assert find_head(SMALL.name, weights) is None, "another hash: not the file that Keras means"
        monkeypatch.setitem(mobilenet_v3.WEIGHTS_HASHES, SMALL.keras_hash, hashes)
        (tmp_path / "keras" / "models" / SMALL.keras_head_file).unlink(missing_ok=True)
        head = find_head(SMALL.name, weights)
    assert head == tmp_path / "keras" / "models" / SMALL.keras_head_file
    assert head.read_bytes() == files[0].read_bytes()
    assert weights.read_bytes() == files[1].read_bytes()
    assert find_head(SMALL.name, weights) == head  # the server is gone


def test_photos_are_described_without_a_head_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backbone_module.load_keras()
    from keras.src.applications import mobilenet_v3

    with served(tmp_path) as address:
        pass  # nobody answers any more
    monkeypatch.setattr(mobilenet_v3, "BASE_WEIGHT_PATH", address)
    weights = hdf5(tmp_path / "keras" / "models" / SMALL.keras_file)
    assert find_weights(SMALL.name) == weights
    assert find_head(SMALL.name, weights) is None


def test_a_head_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="ImageNet's head"):
        build_head(SMALL.name, hdf5(tmp_path / "other.weights.h5"))


# -- from vector to probabilities --------------------------------------------------------------------------------


def test_litert_on_the_vector_gives_what_the_whole_network_gives(network: tuple[Path, Any]) -> None:
    folder, whole = network
    photos = pixels(6)
    expected = whole.predict(photos, verbose=0)
    assert expected.max() > 0.02
    assert np.abs(expected - expected.mean(axis=0)).max() > 0.01  # photos differ by far more than the tolerance
    vectors = backbone_module.build_backbone(SMALL.name, folder / WEIGHTS).predict(photos, verbose=0)
    with open_engine(SMALL.name, folder / WEIGHTS, folder / HEAD, photos=6) as engine:
        assert engine.head is not None
        found = engine.head(vectors)
        assert found.shape == (6, CLASSES)
        for count in (1, 4, 6):  # a photo's numbers do not depend on those that are asked with it
            assert (engine.head(vectors[:count]) == found[:count]).all()
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.slow
def test_a_head_with_a_background_keeps_it(tmp_path: Path) -> None:
    keras = backbone_module.load_keras()
    whole = keras.applications.MobileNetV3Small(input_shape=(224, 224, 3), weights=None, classes=CLASSES + 1)
    whole.save_weights(tmp_path / "mobilenet_v3_small_imagenet_top1001.weights.h5")
    head = find_head(SMALL.name, hdf5(tmp_path / WEIGHTS))
    assert head is not None
    probabilities = litert_head(head_model(SMALL.name, head))(np.ones((3, SMALL.features), np.float32))
    assert probabilities.shape == (3, CLASSES + 1)
    assert probabilities.sum() == pytest.approx(3, abs=1e-4)


# -- in the table ------------------------------------------------------------------------------------------------


def test_evidence_of_the_head_is_computed_when_the_head_appears(tmp_path: Path, network: tuple[Path, Any]) -> None:
    folder, _ = network
    (tmp_path / "w").mkdir()
    weights = Path(shutil.copy(folder / WEIGHTS, tmp_path / "w"))
    options = EmbedOptions(weights=weights)
    dataset = tree(tmp_path, 3)
    summary = embed(dataset, options)
    assert summary.head is False
    assert evidence_of(dataset) == {column.name: [None] * 3 for column in IMAGENET_COLUMNS}
    without = read_receipt(dataset.path("embeddings.parquet"))
    vectors = read_vectors(dataset.path("embeddings.parquet"))

    shutil.copy(folder / HEAD, tmp_path / "w")
    summary = embed(dataset, options)
    assert (summary.head, summary.computed) == (True, 3)
    receipt = read_receipt(dataset.path("embeddings.parquet"))
    assert without is not None
    assert receipt is not None
    assert without.options | {"head": file_hash(folder / HEAD)} == receipt.options != without.options
    assert (read_vectors(dataset.path("embeddings.parquet")) == vectors).all()
    head = build_head(SMALL.name, folder / HEAD)
    expected = imagenet_evidence(head.predict(vectors, verbose=0))
    for kind, values in enumerate(evidence_of(dataset).values()):
        assert values == pytest.approx(expected[:, kind].tolist(), abs=2e-4)
    assert embed(dataset, options).computed == 0


def test_the_classic_embedder_has_no_head(tmp_path: Path) -> None:
    dataset = tree(tmp_path, 2)
    assert embed(dataset, EmbedOptions(embedder="classic")).head is False
    assert evidence_of(dataset)["imagenet_fungus"] == [None, None]
    table = read_table(dataset.path("embeddings.parquet"))
    assert table["sharpness"].null_count == 0
