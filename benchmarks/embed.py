"""``embed`` against ``keras.Model.predict`` on a ``tf.data`` pipeline and imagededup's CNN encoder: the same photos.

Run: ``python -m benchmarks.embed --photos FOLDER --weights FOLDER [--count 1000] [--imagededup PYTHON]``, where FOLDER
of photos is a bucket, ``<photo id>/medium.<ext>``. Each way lives in a process of its own that has loaded and warmed
up before the first turn; then they take turns, since a neighbour's work on the machine would else fall on one only.
Seconds and processor time are medians of the turns; processor time is what a busy machine distorts least.

Two claims. *Inference alone*: the photos lie decoded in memory. *File to vector*: from the names of the files; once as
the engine does it, once as the whole command does, which also hashes each file, hashes each picture and writes a table.

imagededup brings a network of the same architecture (torchvision's MobileNetV3-Small) and 2.5 times as many libraries,
so ``--imagededup`` takes the Python of another environment. Its weights are a download; here they are random, given
through its own ``CustomModel``: they cost the same time, and its vectors are not looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

BACKBONE = "mobilenet_v3_small"
TURNS = 5
BATCH = 32  # of Keras' predict, its default
BLOCK = 16  # of ours

PREDICT, INFER = "keras predict", "ours"
TF_DATA, TO_VECTOR, COMMAND = "tf.data + keras predict", "ours: decode, scale, infer", "ours: the whole of embed"
DEDUP = "imagededup CNN"
DEDUP_WORKERS = f"imagededup CNN, {os.cpu_count()} workers"
IN_MEMORY = (PREDICT, INFER)
FROM_FILES = (TF_DATA, TO_VECTOR, COMMAND, DEDUP, DEDUP_WORKERS)

Turn = Callable[[], Any]
"""All photos once; what it returns are vectors, where they are to be compared."""


# -- the ways: each prepares, then gives what one turn does --------------------------------------------------------


def predict(files: list[Path], weights: Path) -> Turn:
    """Keras, photos in memory as the float32 it computes with."""
    import numpy as np

    from shroomcurate.backbone import build_backbone

    pixels = _pixels(files).astype(np.float32)
    model = build_backbone(BACKBONE, weights)
    return lambda: model.predict(pixels, batch_size=BATCH, verbose=0)


def infer(files: list[Path], weights: Path) -> Turn:
    """Our engine, photos in memory as the uint8 that decoding gives."""
    from concurrent.futures import ThreadPoolExecutor

    from shroomcurate.embed.engine import cores, litert, litert_model

    pixels = _pixels(files)
    one = litert(litert_model(BACKBONE, weights), cores())
    pool = ThreadPoolExecutor(cores())
    return lambda: list(pool.map(one, pixels))


def tf_data(files: list[Path], weights: Path) -> Turn:
    """Keras, fed as its guides do it: read, decode and scale in parallel, batch, prefetch."""
    from shroomcurate.backbone import build_backbone

    model = build_backbone(BACKBONE, weights)
    import tensorflow as tf

    def load(name: Any) -> Any:
        photo = tf.io.decode_image(tf.io.read_file(name), channels=3, expand_animations=False)
        height, width = tf.shape(photo)[0], tf.shape(photo)[1]
        side = tf.minimum(height, width) * 224 // 256
        centre = photo[(height - side) // 2 : (height + side) // 2, (width - side) // 2 : (width + side) // 2]
        return tf.ensure_shape(tf.image.resize(centre, (224, 224)), (224, 224, 3))

    flow = tf.data.Dataset.from_tensor_slices([str(file) for file in files])
    flow = flow.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    return lambda: model.predict(flow, verbose=0)


def to_vector(files: list[Path], weights: Path) -> Turn:
    """Our processes, blocks and network, without what `embed` does besides."""
    from concurrent.futures import ThreadPoolExecutor

    from shroomcurate.embed.engine import cores, litert_model
    from shroomcurate.processes import Helper

    words = [sys.executable, __file__, "--look", str(litert_model(BACKBONE, weights))]
    helpers = [Helper([*words, "--photos", ".", "--weights", "."]) for _ in range(cores())]
    pool = ThreadPoolExecutor(len(helpers))
    blocks = [files[start : start + BLOCK] for start in range(0, len(files), BLOCK)]

    def turn() -> Any:
        left = iter(blocks)
        shares = list(pool.map(lambda helper: [helper.ask(block, 60) for block in left], helpers))
        assert sum(map(len, shares)) == len(blocks)  # noqa: S101

    return turn


def look(model: Path) -> None:
    """Make vectors of blocks of files, beside the process that asks."""
    import numpy as np

    from shroomcurate.embed import network_input
    from shroomcurate.embed.engine import SHORTER_SIDE, litert
    from shroomcurate.photos import read_photo
    from shroomcurate.processes import answer_all

    infer = litert(model)

    def vectors(block: list[Path]) -> Any:
        seen = [network_input(read_photo(file, SHORTER_SIDE)) for file in block]
        return np.stack([infer(each) for each in seen])

    answer_all(vectors)


def command(files: list[Path], weights: Path) -> Turn:
    """Run the stage, from a folder of photos to embeddings.parquet, its start of the network included."""
    from shroomcurate.dataset import Dataset
    from shroomcurate.embed import EmbedOptions, embed

    dataset = Dataset(images=files[0].parents[1])

    def turn() -> None:
        dataset.path("embeddings.parquet").unlink(missing_ok=True)
        embed(dataset, EmbedOptions(BACKBONE, weights))

    return turn


def imagededup(files: list[Path], workers: int) -> Turn:
    """Its encoder with its own transform; runs in another environment, so nothing of ours may be imported."""
    import torch
    import torchvision
    from imagededup.methods import CNN
    from imagededup.utils import CustomModel
    from imagededup.utils.models import MobilenetV3

    network = torchvision.models.mobilenet_v3_small(weights=None)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(8, 3, 224, 224))  # so that no activation vanishes, for tiny numbers are slow ones
    network.eval()
    trunk = torch.nn.Sequential(network.features, network.avgpool, torch.nn.Flatten())
    encoder = CNN(verbose=False, model_config=CustomModel("mobilenet_v3_small", trunk, MobilenetV3.transform))

    def turn() -> None:
        found = encoder.encode_images(files[0].parents[1], recursive=True, num_enc_workers=workers)
        assert len(found) == len(files)  # noqa: S101

    return turn


WAYS: dict[str, Callable[[list[Path], Path], Turn]] = {
    PREDICT: predict,
    INFER: infer,
    TF_DATA: tf_data,
    TO_VECTOR: to_vector,
    COMMAND: command,
    DEDUP: lambda files, _: imagededup(files, 0),
    DEDUP_WORKERS: lambda files, _: imagededup(files, os.cpu_count() or 1),
}


def _pixels(files: list[Path]) -> Any:
    import numpy as np

    from shroomcurate.embed import network_input
    from shroomcurate.photos import read_photo

    return np.stack([network_input(read_photo(file, 256)) for file in files])


# -- a way's process ----------------------------------------------------------------------------------------------


def serve(way: str, folder: Path, weights: Path) -> None:
    """Prepare, warm up, then take a turn for each line on standard input."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    turn = WAYS[way](sorted(folder.glob("*/*")), weights)
    vectors = turn()
    if way in IN_MEMORY:
        import numpy as np

        np.save(folder.parent / f"{way}.npy", np.asarray(vectors))
    out.write("ready\n")
    out.flush()
    for _ in sys.stdin:
        cpu, start = _cpu(), time.perf_counter()
        turn()
        out.write(json.dumps([time.perf_counter() - start, _cpu() - cpu]) + "\n")
        out.flush()


def _cpu() -> float:
    """Return the processor time of this process, of those it has ended, and of those that it still has."""
    import psutil

    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    living = (child.cpu_times() for child in psutil.Process().children())
    mine: float = sum(each.ru_utime + each.ru_stime for each in used)
    return mine + sum(float(each.user + each.system) for each in living)


# -- the comparison -----------------------------------------------------------------------------------------------


def choose(bucket: Path, count: int, folder: Path) -> int:
    """Copy the first so many photos that decode into class folders; return how many there were."""
    from shroomcurate.photos import NotAPhoto, read_photo

    copied = 0
    for file in sorted(bucket.glob("*/medium.*")):
        try:
            read_photo(file)
        except NotAPhoto:
            continue
        target = folder / f"Class_{copied % 4}" / f"{file.parent.name}{file.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        copied += 1
        if copied == count:
            break
    return copied


def measure(ways: list[str], folder: Path, weights: Path, other_python: str | None) -> dict[str, list[list[float]]]:
    """Return seconds and processor time of each turn of each way."""
    processes = {}
    for way in ways:
        python = other_python if way.startswith("imagededup") else sys.executable
        words = [str(python), __file__, "--serve", way, "--photos", str(folder), "--weights", str(weights)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        processes[way] = process
        if _line(process.stdout, way) != "ready":
            raise SystemExit(f"{way} did not start")
    taken: dict[str, list[list[float]]] = {way: [] for way in ways}
    for _ in range(TURNS):
        for way, process in processes.items():
            assert process.stdin  # noqa: S101
            process.stdin.write("\n")
            process.stdin.flush()
            taken[way].append(json.loads(_line(process.stdout, way)))
    for process in processes.values():
        assert process.stdin  # noqa: S101
        process.stdin.close()
        process.wait()
    return taken


def _line(stream: IO[str] | None, way: str) -> str:
    line = stream.readline() if stream else ""
    if not line:
        raise SystemExit(f"{way} ended")
    return line.strip()


def show(taken: dict[str, list[list[float]]], ways: tuple[str, ...], photos: int, rival: str, aim: float) -> None:
    """Print a claim's table and its ratios, turn by turn against the rival's."""
    print(
        f"\n| {photos} photos, medians of {TURNS} turns | photos/s | ms of processor | times {rival} | by processor |"
    )
    print("|---|---|---|---|---|")
    for way in ways:
        if way not in taken:
            continue
        seconds, cpu = (statistics.median(turn[part] for turn in taken[way]) for part in (0, 1))
        faster, cheaper = (
            statistics.median(r[part] / o[part] for r, o in zip(taken[rival], taken[way], strict=True))
            for part in (0, 1)
        )
        print(f"| {way} | {photos / seconds:.0f} | {1000 * cpu / photos:.2f} | {faster:.2f} | {cheaper:.2f} |")
    print(f"(aim: {aim} times {rival})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--imagededup", metavar="PYTHON")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look:
        look(options.look)
        return
    if options.serve:
        serve(options.serve, options.photos, options.weights)
        return
    import numpy as np

    from shroomcurate.backbone import find_weights

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        photos = choose(options.photos, options.count, folder)
        weights = find_weights(BACKBONE, options.weights)
        ways = [way for way in (*IN_MEMORY, *FROM_FILES) if options.imagededup or not way.startswith("imagededup")]
        taken = measure(ways, folder, weights, options.imagededup)
        theirs, ours = (np.load(Path(scratch) / f"{way}.npy") for way in IN_MEMORY)
        print(
            f"largest difference of a vector's numbers: {np.abs(theirs - ours).max():.1e} (of {np.abs(ours).max():.1f})"
        )
    show(taken, IN_MEMORY, photos, PREDICT, 4)
    show(taken, FROM_FILES, photos, TF_DATA, 2.5)


if __name__ == "__main__":
    main()
