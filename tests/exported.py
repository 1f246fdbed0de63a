"""A small real dataset to export: a selection, downloads, a cleaning, a split, every licence, a verdict."""

from __future__ import annotations

import csv
from datetime import date, datetime
from pathlib import Path
from typing import Any

from shroomcurate.clean import SCHEMA as CLEANED
from shroomcurate.dataset import Dataset, Receipt, file_hash, make_table, read_table, write_table
from shroomcurate.download import SCHEMA as DOWNLOADS
from shroomcurate.licences import LICENSES
from shroomcurate.photos import check_photo
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.split import split
from shroomcurate.verdicts import Verdict, append_verdicts
from tests.conftest import jpeg, selection_rows

CLASSES = ("Amanita_muscaria", "Boletus_edulis", "Cantharellus_cibarius")

#: Photographers, one of whom has a name that Markdown, HTML and a spreadsheet could take for their own.
NAMES = ("Ann Observer", "Zoë Ångström", '=HYPERLINK("http://evil.example")[x](y)<b>*_')


def attribution(license_name: str, name: str) -> str:
    """The official line."""
    if license_name == "CC0":
        return f"{name}, no rights reserved (CC0)"
    if license_name == "PD":
        return f"{name}, no known copyright restrictions (PD)"
    return f"© {name}, some rights reserved ({license_name})"


def make_exported(root: Path, photos: int = 12, *, split_it: bool = True) -> Dataset:
    """A dataset of three classes with `photos` photos each, of which cleaning has removed one of each class.

    Photo 1001 has a verdict, keep. Two photos make an observation; every licence occurs.
    """
    dataset = Dataset(root)
    rows = _selection(photos)
    inputs: dict[str, str] = {}

    def write(name: str, schema: Any, of: list[dict[str, Any]], stage: str, options: dict[str, Any]) -> None:
        write_table(dataset.path(name), make_table(schema, of), Receipt(stage, options, dict(inputs)))

    write("selection.parquet", SELECTION, rows, "query", {"catalogue": "0123abcd", "per_class": photos})
    inputs["selection.parquet"] = file_hash(dataset.path("selection.parquet"))
    downloads = [_downloaded(dataset, row) for row in rows]
    write("downloads.parquet", DOWNLOADS, downloads, "download", {"size": "medium"})
    append_verdicts(dataset, {"images/Amanita_muscaria/1001.jpg": Verdict(keep=True, reason=None)})
    judged = [_judged(row, removed=int(row["photo_id"]) % 1000 == photos) for row in downloads]
    write("clean.parquet", CLEANED, judged, "clean", {"eps": 0.3})
    for row in judged:
        if row["reason"]:
            target = dataset.locate(row["path"], row["reason"])
            target.parent.mkdir(parents=True, exist_ok=True)
            (dataset.root / row["path"]).rename(target)
    if split_it:
        split(dataset)
    return dataset


def _selection(photos: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(selection_rows(CLASSES, photos)):
        license_name = LICENSES[number % len(LICENSES)]
        name = NAMES[number // 2 % len(NAMES)]
        known = {"license": license_name, "attribution": attribution(license_name, name)}
        day = date(2020, 1 + number % 12, 1 + number % 28) if number % 5 else None
        rows.append({**row, **known, "observed_on": day})
    return rows


def _downloaded(dataset: Dataset, row: dict[str, Any]) -> dict[str, Any]:
    photo_id, name = int(row["photo_id"]), str(row["class"])
    path = f"images/{name}/{photo_id}.jpg"
    content = jpeg(photo_id, hue=60 * CLASSES.index(name), size=(80 + photo_id % 7, 60))
    target = dataset.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    facts = check_photo(content)
    return {
        "photo_id": photo_id,
        "class": name,
        "role": "wanted",
        "status": "ok",
        "path": path,
        "bytes": len(content),
        "sha256": file_hash(target),
        "width": facts.width,
        "height": facts.height,
        "attempts": 1,
        "fetched_at": datetime(2026, 7, 14, 12, 0, photo_id % 60),
    }


def _judged(row: dict[str, Any], *, removed: bool) -> dict[str, Any]:
    reason = "scenery" if removed else None
    judged = {"cluster": 0, "score": 0.9 if removed else 0.1, "decided_by": "rule", "distance": 0.1}
    facts = {name: row[name] for name in ("path", "photo_id", "class")}
    return {**facts, **judged, "kept": not removed, "reason": reason}


def known_of(dataset: Dataset) -> dict[int, dict[str, Any]]:
    """What the tables say of each kept photo, and its bytes: photo id -> columns and `content`."""
    selected = {row["photo_id"]: row for row in read_table(dataset.path("selection.parquet")).to_pylist()}
    came = {row["path"]: row for row in read_table(dataset.path("downloads.parquet")).to_pylist()}
    placed: dict[str, dict[str, Any]] = {}
    if dataset.path("splits.parquet").exists():
        placed = {row["path"]: row for row in read_table(dataset.path("splits.parquet")).to_pylist()}
    found = {}
    for row in read_table(dataset.path("clean.parquet")).to_pylist():
        if row["kept"]:
            content = (dataset.root / row["path"]).read_bytes()
            known = {**selected[row["photo_id"]], **came[row["path"]], "split": None, **placed.get(row["path"], {})}
            found[row["photo_id"]] = {**known, "content": content}
    return found


def credit_of(folder: Path) -> list[dict[str, str]]:
    """The rows of an export's ATTRIBUTION.csv."""
    with (folder / "ATTRIBUTION.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file in a folder and what is in it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
