"""Time and memory of `report`, and the size of its page: 445 classes of 500 photos, every stage's table there.

Usage: python -m benchmarks.report [FOLDER] [CLASSES] [EACH]

The photos are links to a hundred small ones. Of the tables it needs only what the page shows: half as many photos again
in reserve, every tenth photo removed, places like those of Europe and North America, a run with predictions.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from shroomcurate.clean import SCHEMA as CLEAN
from shroomcurate.dataset import Dataset, Receipt, arrow_schema, file_hash, make_table, write_table
from shroomcurate.download import SCHEMA as DOWNLOADS
from shroomcurate.report import report
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.split import split
from shroomcurate.training.evaluation import confusion_matrix, most_confused, precision_recall_f1
from shroomcurate.training.results import SCHEMA as PREDICTIONS

FILES = 100
REMOVED_EVERY, COPY_EVERY = 10, 50
REASONS = ("microscopy", "scenery", "person", "drawing", "blurred", "too_far", "outlier")
LICENSES = ("CC0", "CC-BY", "CC-BY-NC", "CC-BY-NC", "CC-BY-NC", "CC-BY-NC-SA", "CC-BY-NC-ND")


def make(folder: Path, classes: int, each: int) -> None:
    """Make photos and tables."""
    shutil.rmtree(folder, ignore_errors=True)
    dataset = Dataset(folder)
    names = [f"Genus{number // 5:03}_species{number:03}" for number in range(classes)]
    _select(dataset, names, each)
    _photograph(dataset)
    split(dataset)
    _train(dataset, names)


def _select(dataset: Dataset, names: list[str], each: int) -> None:
    import numpy as np
    import pyarrow as pa

    chance = np.random.default_rng(0)
    a_class = each + each // 2
    count = a_class * len(names)
    rank = np.tile(np.arange(1, a_class + 1), len(names))
    observer = (chance.pareto(1.2, count) * 50).astype(np.int64) % 60_000
    european = chance.random(count) < 0.6
    latitude = np.where(european, chance.normal(49, 4, count), chance.normal(42, 6, count))
    longitude = np.where(european, chance.normal(9, 7, count), chance.normal(-95, 18, count))
    unknown = chance.random(count) < 0.02
    licence = np.array(LICENSES)[chance.integers(0, len(LICENSES), count)]
    columns = {
        "photo_id": chance.permutation(np.arange(10**6, 10**6 + 3 * count))[:count],
        "photo_uuid": _uuids(chance, count),
        "observation_uuid": _uuids(chance, count // 2).repeat(2)[:count],
        "observer_id": observer,
        "class": np.repeat(names, a_class),
        "class_name": np.repeat([name.replace("_", " ") for name in names], a_class),
        "taxon_name": np.repeat([name.replace("_", " ") for name in names], a_class),
        "class_taxon_id": np.repeat(np.arange(len(names)), a_class),
        "taxon_id": np.repeat(np.arange(len(names)), a_class),
        "rank_in_class": rank,
        "role": np.where(rank <= each, "wanted", "reserve"),
        "extension": np.full(count, "jpg"),
        "license": licence,
        "attribution": [f"© Observer {one}, {name}" for one, name in zip(observer.tolist(), licence, strict=True)],
        "latitude": pa.array(latitude, mask=unknown),
        "longitude": pa.array(longitude, mask=unknown),
        "observed_on": np.datetime64("2024-12-31") - (chance.exponential(1200, count)).astype("timedelta64[D]"),
        "other_observations": pa.nulls(count),
    }
    schema = arrow_schema(SELECTION)
    table = pa.table({name: pa.array(columns[name]).cast(schema.field(name).type) for name in schema.names})
    write_table(dataset.path("selection.parquet"), table, Receipt("query", {"per_class": each}))


def _uuids(chance: object, count: int) -> object:
    import numpy as np

    text = chance.bytes(16 * count).hex()  # type: ignore[attr-defined]
    found = [text[at : at + 32] for at in range(0, 32 * count, 32)]
    return np.array([f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}" for one in found])


def _photograph(dataset: Dataset) -> None:
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(1)
    sources = []
    dataset.path("sources").mkdir()
    for number in range(FILES):
        sources.append(dataset.path("sources") / f"{number}.jpg")
        Image.effect_noise((500, 375), 90).convert("RGB").save(sources[-1], quality=80)
    wanted = dataset.frame("selection.parquet").query("role == 'wanted'")
    downloads, judged = [], []
    last = ""
    for number, (photo_id, name) in enumerate(zip(wanted["photo_id"], wanted["class"], strict=True)):
        path = f"images/{name}/{photo_id}.jpg"
        copy = number % COPY_EVERY == COPY_EVERY - 1
        noise = number % REMOVED_EVERY == 0
        reason = "duplicate" if copy else REASONS[number // REMOVED_EVERY % len(REASONS)] if noise else None
        place = dataset.locate(path, reason)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(sources[number % FILES], place)
        facts = {"status": "ok", "role": "wanted", "path": path, "bytes": 50_000, "attempts": 1}
        downloads.append({"photo_id": photo_id, "class": name, **facts})
        score = float(chance.random())
        verdict = {"kept": reason is None, "reason": reason, "score": score, "decided_by": "rule", "cluster": 0}
        judged.append(
            {"path": path, "photo_id": photo_id, "class": name, **verdict, "duplicate_of": last if copy else None}
        )
        last = path
    shutil.rmtree(dataset.path("sources"))
    inputs = {"selection.parquet": file_hash(dataset.path("selection.parquet"))}
    receipt = Receipt("download", {"size": "medium"}, inputs)
    write_table(dataset.path("downloads.parquet"), make_table(DOWNLOADS, downloads), receipt)
    judged.sort(key=lambda row: row["path"])
    write_table(dataset.path("clean.parquet"), make_table(CLEAN, judged), Receipt("clean", {"eps": 0.3}, inputs))


def _train(dataset: Dataset, names: list[str]) -> None:
    import numpy as np

    chance = np.random.default_rng(2)
    test = dataset.frame("splits.parquet").query("split == 'test'")
    number = {name: at for at, name in enumerate(names)}
    truth = test["class"].map(number).to_numpy()
    near = (truth // 5 * 5 + chance.integers(0, 5, len(truth))) % len(names)
    far = chance.integers(0, len(names), len(truth))
    dice = chance.random(len(truth))
    predicted = np.where(dice < 0.6, truth, np.where(dice < 0.9, near, far))
    sure = chance.random(len(truth))
    rows = [
        {"path": path, "class": names[a], "predicted": names[b], "probability": p, "calibrated": p, "top5": "[]"}
        for path, a, b, p in zip(test["path"], truth, predicted, sure, strict=True)
    ]
    matrix = confusion_matrix(truth, predicted, len(names))
    figures = precision_recall_f1(matrix)
    metrics = {
        "mode": "probe",
        "classes": names,
        "top1": float((truth == predicted).mean()),
        "top5": 0.9,
        "macro_f1": float(figures[2].mean()),
        "per_class": {
            name: {"precision": p, "recall": r, "f1": f, "photos": n}
            for name, p, r, f, n in zip(
                names, *(each.tolist() for each in figures), matrix.sum(axis=1).tolist(), strict=True
            )
        },
        "confusion": matrix.tolist(),
        "most_confused": most_confused(matrix, names),
        "inputs": {"splits.parquet": file_hash(dataset.path("splits.parquet"))},
    }
    run = dataset.path("runs") / "probe-1"
    run.mkdir(parents=True)
    (run / "metrics.json").write_text(json.dumps(metrics))
    write_table(run / "predictions.parquet", make_table(PREDICTIONS, rows), Receipt("train-baseline", {}))


class Took(NamedTuple):
    """What a run took: seconds of `report` alone; processor time and memory, in MiB, of its whole process; the page."""

    seconds: float
    cpu: float
    peak: float
    size: int


def measure(folder: Path) -> Took:
    """Make the page in a process of its own and return what it took."""
    command = [sys.executable, "-m", "benchmarks.report", "--only", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        printed = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    cpu = usage.ru_utime + usage.ru_stime
    return Took(float(printed.split()[-1]), cpu, usage.ru_maxrss / 1024, (folder / "report.html").stat().st_size)


def main() -> None:
    """Make the dataset where it is not there yet, and print what its report took."""
    words = sys.argv[1:]
    if words[:1] == ["--only"]:
        started = time.monotonic()
        report(Dataset(words[1]))
        print(time.monotonic() - started)
        return
    classes, each = (int(word) for word in [*words[1:], *("445", "500")[len(words[1:]) :]])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(words[0] if words else scratch) / f"{classes}x{each}"
        if not (folder / "runs").is_dir():
            # In another process, since the memory of this one is counted as that of its children.
            with ProcessPoolExecutor(1, get_context("spawn")) as other:
                other.submit(make, folder, classes, each).result()
        for attempt in ("first", "again"):
            took = measure(folder)
            print(
                f"{classes * each:,} photos, {attempt}: {took.seconds:.1f} s ({took.cpu:.1f} s of processors), "
                f"{took.peak:.0f} MiB, page {took.size / 1e6:.1f} MB"
            )


if __name__ == "__main__":
    main()
