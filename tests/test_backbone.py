"""Where the weights come from, and that the network is the one they belong to."""

from __future__ import annotations

import functools
import hashlib
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shroomcurate import backbone as backbone_module
from shroomcurate.architectures import BACKBONES, Backbone
from shroomcurate.backbone import build_backbone, empty_backbone, find_weights
from shroomcurate.errors import WeightsMissing

SMALL = BACKBONES["mobilenet_v3_small"]
KERAS_FILE = SMALL.keras_file


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SHROOMCURATE_WEIGHTS", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def hdf5(path: Path) -> Path:
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["x"] = [1.0] * 1000
    return path


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def keras_downloads_from(address: str, md5: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone_module.load_keras()
    from keras.src.applications import mobilenet_v3

    monkeypatch.setattr(mobilenet_v3, "BASE_WEIGHT_PATH", address)
    monkeypatch.setitem(mobilenet_v3.WEIGHTS_HASHES, "small_224_1.0_float", ("", md5))


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=list(BACKBONES))
def test_a_folder_is_searched_for_the_known_names_of_this_backbone(tmp_path: Path, backbone: Backbone) -> None:
    for number, name in enumerate(reversed(backbone.known_files)):
        file = hdf5(tmp_path / "w" / name)
        assert find_weights(backbone.name, tmp_path / "w") == file
        assert find_weights(backbone.name, file) == file
        for other in set(BACKBONES) - {backbone.name} if number == 0 else ():
            with pytest.raises(WeightsMissing, match="holds neither"):
                find_weights(other, tmp_path / "w")


def test_what_is_named_comes_before_the_environment_and_that_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = hdf5(tmp_path / "keras" / "models" / KERAS_FILE)
    assert find_weights(SMALL.name) == cached
    environment = hdf5(tmp_path / "e.h5")
    monkeypatch.setenv("SHROOMCURATE_WEIGHTS", str(environment))
    assert find_weights(SMALL.name) == environment
    named = hdf5(tmp_path / "n.h5")
    assert find_weights(SMALL.name, named) == named


def test_a_wrong_name_does_not_fall_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5(tmp_path / "keras" / "models" / KERAS_FILE)
    (tmp_path / "text.h5").write_text("not weights")
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "no", tmp_path / "empty", tmp_path / "text.h5"):
        with pytest.raises(WeightsMissing, match=str(wrong)) as caught:
            find_weights(SMALL.name, wrong)
        assert "--weights PATH" in caught.value.hint
        assert "--embedder classic" in caught.value.hint
        monkeypatch.setenv("SHROOMCURATE_WEIGHTS", str(wrong))
        with pytest.raises(WeightsMissing, match="SHROOMCURATE_WEIGHTS"):
            find_weights(SMALL.name)
        monkeypatch.delenv("SHROOMCURATE_WEIGHTS")


def test_a_cut_off_file_is_no_weights(tmp_path: Path) -> None:
    file = hdf5(tmp_path / "w.h5")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WeightsMissing, match="whole HDF5"):
        find_weights(SMALL.name, file)


def test_without_a_network_it_fails_fast_and_names_both_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with served(tmp_path) as address:
        pass  # the port is closed again: nobody answers
    keras_downloads_from(address, "", monkeypatch)
    start = time.monotonic()
    with pytest.raises(WeightsMissing, match="download failed") as caught:
        find_weights(SMALL.name)
    assert time.monotonic() - start < 5
    assert "SHROOMCURATE_WEIGHTS" in str(caught.value)
    assert "--embedder classic" in caught.value.hint


def test_keras_own_download_is_verified_cached_and_silent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = hdf5(tmp_path / "bucket" / KERAS_FILE).read_bytes()
    with served(tmp_path / "bucket") as address:
        keras_downloads_from(address, "0" * 32, monkeypatch)
        with pytest.raises(WeightsMissing, match="hash"):
            find_weights(SMALL.name)
        (tmp_path / "keras" / "models" / KERAS_FILE).write_bytes(content[:500])  # what a killed download leaves
        keras_downloads_from(address, hashlib.md5(content, usedforsecurity=False).hexdigest(), monkeypatch)
        found = find_weights(SMALL.name)
    assert found == tmp_path / "keras" / "models" / KERAS_FILE
    assert found.read_bytes() == content
    assert find_weights(SMALL.name) == found  # the server is gone
    assert capfd.readouterr().out == ""


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="does not hold"):
        build_backbone(SMALL.name, hdf5(tmp_path / "other.weights.h5"))
    keras = backbone_module.load_keras()
    other = keras.applications.MobileNetV3Small(include_top=False, pooling="avg", weights=None, alpha=0.75)
    other.save_weights(tmp_path / "slim.weights.h5")
    with pytest.raises(WeightsMissing, match="does not hold"):
        build_backbone(SMALL.name, tmp_path / "slim.weights.h5")


@pytest.mark.parametrize(
    "backbone",
    [pytest.param(each, marks=() if each is SMALL else pytest.mark.slow) for each in BACKBONES.values()],
    ids=list(BACKBONES),
)
def test_keras_has_an_address_and_a_hash_for_each_backbones_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backbone: Backbone
) -> None:
    keras = backbone_module.load_keras()
    asked: dict[str, str] = {}

    def get_file(name: str, address: str, **options: str) -> str:
        asked.update(options, name=name, address=address)
        return str(tmp_path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    find_weights(backbone.name)
    assert asked["name"] == backbone.keras_file
    assert asked["address"].startswith("https://")
    assert asked["address"].endswith(f"/{backbone.keras_file}")
    # What Keras itself asks for.
    own: dict[str, str] = {}

    def stop(name: str, address: str, **options: str) -> str:
        own.update(options, name=name, address=address)
        raise InterruptedError

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", stop)
    with pytest.raises(InterruptedError):
        getattr(keras.applications, backbone.builder)(include_top=False, input_shape=(224, 224, 3), weights="imagenet")
    assert {key: asked[key] for key in ("name", "address", "file_hash")} == {
        key: own[key] for key in ("name", "address", "file_hash")
    }


def test_the_default_network_takes_224_pixels_and_gives_576_features(tmp_path: Path) -> None:
    model = empty_backbone(SMALL.name)
    model.save_weights(tmp_path / "own.weights.h5")
    built = build_backbone(SMALL.name, tmp_path / "own.weights.h5")
    assert built.input_shape == (None, 224, 224, 3)
    assert built.output_shape == (None, SMALL.features) == (None, 576)
    assert (built.get_weights()[0] == model.get_weights()[0]).all()


def test_what_native_code_says_is_shown_only_when_the_block_fails() -> None:
    script = """
import os
from shroomcurate.backbone import silent_stderr
with silent_stderr():
    os.write(2, b"chatter")
try:
    with silent_stderr():
        os.write(2, b"evidence")
        raise ImportError
except ImportError:
    pass
os.write(2, b" after")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert result.stderr == b"evidence after"
