"""Datasets to review, and what the page shows of them, for tests that open it in a browser. Not a test itself."""

from __future__ import annotations

import csv
import datetime
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
from playwright.sync_api import Page, expect

from shroomcurate.clean.tables import SCHEMA
from shroomcurate.dataset import Dataset, Receipt, make_table, write_table
from shroomcurate.evidence import EVIDENCE
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.training.results import SCHEMA as PREDICTIONS
from shroomcurate.tree import REASONS

from .conftest import jpeg, selection_rows

CLASSES = ("Amanita_muscaria", "Boletus_edulis", "Cantharellus_cibarius")
EACH = 10
LENGTH = 16

#: In each class the first photos are noise, the next a small cluster, all others the class. The last is a copy.
NOISE = ("scenery", "microscopy", "person", "outlier")
SMALL = 3

OPTIONS = "#list [role=option]"
WHOLE = 40  # so many photos are all in a wide page once the wall is at rest, seen or not


def judged(root: Path, classes: Sequence[str] = CLASSES, each: int = EACH, photo: bytes | None = None) -> Dataset:
    """Make a dataset that was cleaned and has a baseline, without cleaning or training; `photo` stands for all."""
    dataset = Dataset(root)
    rows = selection_rows(classes, wanted=each)
    judgements = []
    for row in rows:
        row["license"] = ("CC-BY", "CC0")[int(str(row["rank_in_class"])) % 2]
        row["observed_on"] = datetime.date(2020, 5, 1)
        judgements.append(judgement(row, each))
    for made in judgements:
        place = dataset.locate(made["path"], made["reason"])
        place.parent.mkdir(parents=True, exist_ok=True)
        number = made["photo_id"]
        place.write_bytes(photo or jpeg(number, hue=60 * (number // 1000)))
    judgements.sort(key=lambda made: str(made["path"]))
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, rows), Receipt("query", {}))
    write_table(dataset.path("clean.parquet"), make_table(SCHEMA, judgements), Receipt("clean", {}))
    _embed(dataset, [made["path"] for made in judgements])
    _train(dataset, judgements)
    return dataset


def judgement(row: Mapping[str, Any], each: int) -> dict[str, Any]:
    """Return what a cleaning says of a photo of the selection, by its place in its class."""
    place = row["rank_in_class"] - 1
    folder = f"images/{row['class']}"
    noise, small, copy = place < len(NOISE), place < len(NOISE) + SMALL, place == each - 1 and each > 8
    reason = NOISE[place] if noise else "duplicate" if copy else None
    measured = np.random.default_rng(row["photo_id"]).random(len(EVIDENCE)).tolist()
    return {
        "path": f"{folder}/{row['photo_id']}.jpg",
        "photo_id": row["photo_id"],
        "class": row["class"],
        "cluster": -1 if noise else 1 if small else 0,
        "kept": reason is None,
        "reason": reason,
        "score": 0.95 - 0.1 * place if noise else 0.4 - 0.02 * place if small else 0.05,
        "decided_by": "rule",
        "duplicate_of": f"{folder}/{row['photo_id'] - 1}.jpg" if copy else None,
        "distance": 0.25,
        **{column.name: value for column, value in zip(EVIDENCE, measured, strict=True)},
    }


def _embed(dataset: Dataset, paths: Sequence[str]) -> None:
    vectors = np.random.default_rng(0).standard_normal((len(paths), LENGTH)).astype(np.float32)
    table = pa.table(
        {
            "path": pa.array(paths),
            "photo_id": pa.array([int(Path(path).stem) for path in paths], pa.int64()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), LENGTH),
        }
    )
    write_table(dataset.path("embeddings.parquet"), table, Receipt("embed", {"embedder": "classic"}))


def _train(dataset: Dataset, judgements: Sequence[Mapping[str, Any]]) -> None:
    """Pretend that a baseline took the second class for the first."""
    names = sorted({made["class"] for made in judgements})
    rows = [
        {"path": made["path"], "class": made["class"], "predicted": names[0], "probability": 0.9, "calibrated": 0.81}
        for made in judgements
        if made["class"] in names[:2] and made["kept"]
    ]
    run = dataset.path("runs/20261101-probe")
    run.mkdir(parents=True)
    (run / "metrics.json").write_text(json.dumps({"top1": 0.5}))
    write_table(run / "predictions.parquet", make_table(PREDICTIONS, rows), Receipt("train-baseline", {}))


def paths(dataset: Dataset) -> list[str]:
    """The photos in the order of their numbers on the page."""
    return list(dataset.places())


# -- verdicts.csv, read without the code that wrote it ---------------------------------------------------------------


def lines(dataset: Dataset) -> list[tuple[str, str, str]]:
    """Path, verdict and reason of each line, as they stand in the file."""
    file = dataset.path("verdicts.csv")
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as handle:
        return [(row["path"], row["verdict"], row["reason"]) for row in csv.DictReader(handle)]


def on_disk(dataset: Dataset) -> dict[int, str]:
    """The verdict that counts of each photo, as the page names it: 'keep', or the reason for which it is removed."""
    number = {path: each for each, path in enumerate(paths(dataset))}
    last = {number[path]: reason if verdict == "remove" else verdict for path, verdict, reason in lines(dataset)}
    return {photo: word for photo, word in last.items() if word != "none"}


# -- the page --------------------------------------------------------------------------------------------------------


def open_view(page: Page, url: str, view: str = "all", **state: str) -> None:
    """Open the page at a view and wait for its photos."""
    page.goto("about:blank")  # an address that differs in its hash alone is not loaded anew
    page.goto(f"{url}#{urlencode({'view': view, **state})}")
    page.wait_for_selector(OPTIONS)
    count = int(page.locator("#count").inner_text().split()[0].replace(",", ""))
    if count <= WHOLE and page.viewport_size and page.viewport_size["width"] > 1000:
        expect(page.locator(OPTIONS)).to_have_count(count)


def order(page: Page) -> list[int]:
    """The numbers of the photos that are in the page, in their order."""
    found: list[int] = page.eval_on_selector_all(
        OPTIONS,
        "cells => cells.sort((a, b) => a.ariaPosInSet - b.ariaPosInSet).map(cell => Number(cell.dataset.number))",
    )
    return found


class Mark(NamedTuple):
    """What the page shows of your verdict on a photo: 'keep', a reason or '', and whether it says that it is saved."""

    verdict: str
    saved: str


def marks(page: Page) -> dict[int, Mark]:
    """What the page shows on each photo that has a mark."""
    found = page.eval_on_selector_all(
        OPTIONS,
        """cells => cells.filter(cell => cell.dataset.verdict || cell.dataset.saved).map(cell => [
            Number(cell.dataset.number), cell.dataset.verdict, cell.querySelector(".verdict b").textContent,
            cell.dataset.saved])""",
    )
    return {number: Mark(_verdict(kind, word), saved) for number, kind, word, saved in found}


def _verdict(kind: str, word: str) -> str:
    if kind == "remove":
        return word.replace(" ", "_")
    return "" if kind == "none" else kind


def saved(page: Page) -> dict[int, str]:
    """The verdicts that the page shows as saved."""
    return {number: mark.verdict for number, mark in marks(page).items() if mark.saved == "yes" and mark.verdict}


def shown(page: Page, verdicts: dict[int, str], seconds: float = 5) -> bool:
    """Whether the page comes to show just these verdicts as saved: an undo, and what another tab did, come later."""
    until = time.monotonic() + seconds
    while saved(page) != verdicts and time.monotonic() < until:
        page.wait_for_timeout(20)
    return saved(page) == verdicts


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def all_saved(page: Page) -> None:
    """Wait until nothing is on its way to the disk."""
    expect(page.locator(".cell[data-saved=saving], .cell[data-saved=failed]")).to_have_count(0)


def focused(page: Page) -> int:
    """The number of the photo that has the focus of the wall."""
    return int(page.locator("#list .cell.focused").get_attribute("data-number") or -1)


REASON_KEYS = dict(zip("1234567890", REASONS, strict=True))
