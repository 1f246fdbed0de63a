"""What the tests of the report share: a dataset on which every stage has run, and what a browser sees of a page."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from shroomcurate.clean import SCHEMA as JUDGEMENTS
from shroomcurate.dataset import Dataset, Receipt, file_hash, make_table, write_table
from shroomcurate.download import SCHEMA as DOWNLOADS
from shroomcurate.split import split
from shroomcurate.training.results import SCHEMA as PREDICTIONS
from tests.conftest import make_photographed

CLASSES = ["Amanita_muscaria", "Boletus_edulis"]
HOSTILE = "\"><script>alert('x')</script><img src=http://evil.example/a.png onerror=y>"


def copied(made: Dataset, root: Path) -> Dataset:
    """A copy of a dataset, for a test that may change it."""
    shutil.copytree(made.root, root)
    return Dataset(root)


@pytest.fixture(scope="module")
def made_whole(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """See :func:`make_whole`; made once for the tests of a file."""
    return make_whole(tmp_path_factory.mktemp("whole") / "dataset")


@pytest.fixture
def whole(made_whole: Dataset, tmp_path: Path) -> Dataset:
    """The same for one test, which may change it."""
    return copied(made_whole, tmp_path / "dataset")


def add_downloads(dataset: Dataset) -> None:
    """Write downloads.parquet as `download` would for the photos on disk, one wanted photo gone."""
    rows: list[dict[str, Any]] = []
    for path, place in dataset.photos().items():
        facts = {"status": "ok", "path": path, "bytes": place.stat().st_size, "sha256": file_hash(place)}
        rows.append({"photo_id": int(place.stem), "class": place.parent.name, "role": "wanted", "attempts": 1, **facts})
    rows.append({"photo_id": 9, "class": CLASSES[0], "role": "reserve", "status": "gone", "attempts": 1})
    selection = dataset.path("selection.parquet")
    receipt = Receipt("download", {"size": "medium"}, {selection.name: file_hash(selection)})
    write_table(dataset.path("downloads.parquet"), make_table(DOWNLOADS, rows), receipt)


def add_clean(dataset: Dataset, reasons: dict[str, str], duplicates: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write clean.parquet and move the photos whose number is in `reasons`, as `clean` would.

    `duplicates` says of a number which path it equals.
    """
    rows: list[dict[str, Any]] = []
    for number, (path, place) in enumerate(dataset.photos().items()):
        reason = reasons.get(place.stem)
        score = 0.9 if reason else number / 100
        stem = int(place.stem) if place.stem.isdecimal() else None
        judged: dict[str, Any] = {
            "kept": reason is None,
            "reason": reason,
            "decided_by": "rule",
            "cluster": 0,
            "distance": 0.1,
        }
        judged["duplicate_of"] = duplicates.get(place.stem)
        rows.append({"path": path, "photo_id": stem, "class": place.parent.name, "score": score, **judged})
        target = dataset.locate(path, reason)
        target.parent.mkdir(parents=True, exist_ok=True)
        place.rename(target)
    inputs = {name: file_hash(dataset.path(name)) for name in ["selection.parquet"] if dataset.path(name).exists()}
    receipt = Receipt("clean", {"eps": 0.3, "verdicts": None}, inputs)
    write_table(dataset.path("clean.parquet"), make_table(JUDGEMENTS, rows), receipt)


def metrics_of(classes: list[str], **more: Any) -> dict[str, Any]:
    """A run's metrics.json as training writes it."""
    n = len(classes)
    matrix = [[8 if i == j else int(j == (i + 1) % n) for j in range(n)] for i in range(n)]
    gain = {"difference": 0.021, "low": -0.004, "high": 0.05}
    bins = [{"above": 0.8, "up_to": 1.0, "photos": 9 * n, "confidence": 0.9, "accuracy": 0.85}]
    bins.append({"above": 0.0, "up_to": 0.2, "photos": 0, "confidence": None, "accuracy": None})
    return {
        "mode": "probe",
        "seed": 0,
        "classes": classes,
        "top1": 0.875,
        "top5": 0.991,
        "macro_f1": 0.861,
        "per_class": {name: {"precision": 0.9, "recall": 0.8, "f1": 0.85, "photos": 9} for name in classes},
        "confusion": matrix,
        "most_confused": [{"classes": [classes[0], classes[1]], "mistakes": 2, "share": 0.11}],
        "ece": 0.05,
        "ece_calibrated": 0.03,
        "temperature": 1.4,
        "reliability": bins,
        "reliability_calibrated": bins,
        "by_observation": {"observations": 12, "top1": 0.9},
        "raw_vs_clean": {
            "model": "probe",
            "train_photos": {"raw": 50, "clean": 44},
            "raw": {"top1": 0.85, "macro_f1": 0.84},
            "clean": {"top1": 0.875, "macro_f1": 0.861},
            "difference": {"top1": gain, "macro_f1": gain},
        },
        **more,
    }


def add_run(dataset: Dataset, metrics: dict[str, Any], name: str = "probe-1") -> Path:
    folder = dataset.path("runs") / name
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def add_predictions(run: Path, rows: list[tuple[str, str, str, float]]) -> None:
    """Write predictions.parquet of a run: path, class, what the model says, how sure it is."""
    names = ("path", "class", "predicted", "calibrated")
    table = make_table(PREDICTIONS, [dict(zip(names, row, strict=True)) for row in rows])
    write_table(run / "predictions.parquet", table, Receipt("train-baseline", {"seed": 0}))


def add_history(run: Path, rates: list[float]) -> None:
    """Write history.csv of a run, an epoch for each learning rate; the loss falls until the last but one."""
    lines = ["stage,epoch,accuracy,learning_rate,loss,val_accuracy,val_loss"]
    for epoch, rate in enumerate(rates):
        loss = 1 / (epoch + 1) if epoch < len(rates) - 1 else 2
        lines.append(f"{1 + (rate <= 0.0002)},{epoch},{0.5 + epoch / 40},{rate},{loss},{0.4 + epoch / 40},{loss + 0.1}")
    (run / "history.csv").write_text("\n".join(lines) + "\n")


def make_full(root: Path) -> Dataset:
    """Make a dataset whose page has everything: duplicates, one photo in two classes, curves, confused photos."""
    dataset = make_photographed(root, CLASSES, wanted=12, reserve=3)
    add_downloads(dataset)
    reasons = {"1001": "drawing", "1002": "duplicate", "1004": "duplicate", "2004": "duplicate", "2005": "blurred"}
    first, second = (f"images/{name}" for name in CLASSES)
    duplicates = {"1002": f"{first}/1003.jpg", "1004": f"{second}/2004.jpg", "2004": f"{first}/1004.jpg"}
    add_clean(dataset, reasons, duplicates)
    split(dataset)
    inputs = {name: file_hash(dataset.path(name)) for name in ("splits.parquet", "clean.parquet")}
    each = {"folds": 2, "macro_f1": 0.85, "macro_f1_sd": 0.02, "each": [0.84, 0.86]}
    run = add_run(dataset, metrics_of(CLASSES, inputs=inputs, cross_validation=each))
    names = [(f"{first}/1006.jpg", 0.7), (f"{first}/1005.jpg", 0.9)]
    add_predictions(run, [(path, CLASSES[0], CLASSES[1], sure) for path, sure in names])
    add_history(run, [0.004, 0.0012, 0.0002, 0.0002])
    return dataset


def make_whole(root: Path) -> Dataset:
    """Make a dataset on which every stage has run."""
    dataset = make_photographed(root, CLASSES, wanted=12, reserve=3)
    dataset.path("selection.csv").write_text("photo_id\n")
    add_downloads(dataset)
    add_clean(dataset, {"1001": "drawing", "1002": "outlier", "2003": "drawing"})
    split(dataset)
    inputs = {name: file_hash(dataset.path(name)) for name in ("splits.parquet", "clean.parquet")}
    add_run(dataset, metrics_of(CLASSES, inputs=inputs))
    return dataset


class Page(HTMLParser):
    """What a browser would see: tags with attributes, words, headings, and every address it would go to."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.source = dataset.path("report.html").read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_endtag(self, tag: str) -> None:
        self.words += "" if tag in ("a", "bdi", "code", "i") else " "

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", self.words.replace("\u202f", " "))

    def fetched(self) -> list[str]:
        """Addresses that a browser would fetch by itself: anything but data and links that a person clicks."""
        found = []
        for tag, attributes in self.tags:
            for name in ("src", "srcset", "href", "xlink:href", "data", "poster", "action", "background", "ping"):
                value = attributes.get(name)
                if value is not None and not value.startswith("data:") and (tag, name) != ("a", "href"):
                    found.append(f"<{tag} {name}={value}>")
            found += re.findall(r"url\([^)]*\)|@import[^;]*", attributes.get("style", ""))
        styles = re.findall(r"<style>(.*?)</style>", self.source, re.DOTALL)
        return found + re.findall(r"url\([^)]*\)|@import[^;]*", "".join(styles))

    def images(self) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]
