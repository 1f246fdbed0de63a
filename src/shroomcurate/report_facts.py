"""What the report says of each part of a dataset, as plain figures and words; :mod:`shroomcurate.report` lays them out.

Reads: the tables, their receipts, the newest run's metrics. Writes: nothing. Resumes: nothing to resume.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from shroomcurate.dataset import WRITTEN_BY, Dataset, Receipt, file_hash, read_receipt, read_table
from shroomcurate.verdicts import digest, read_verdicts

Row = Mapping[str, Any]

#: What a licence asks of whoever uses the photo. Source: the deeds at https://creativecommons.org/licenses/.
LICENCES = {
    "CC0": "Free for any use. No attribution needed.",
    "PD": "Public domain: free for any use. No attribution needed.",
    "CC-BY": "Attribution needed. Changes and commercial use are allowed.",
    "CC-BY-SA": "Attribution needed. Share-alike: derived works carry the same licence. Commercial use is allowed.",
    "CC-BY-ND": "Attribution needed. No derivatives: pass it on unchanged only. Commercial use is allowed.",
    "CC-BY-NC": "Attribution needed. Non-commercial use only. Changes are allowed.",
    "CC-BY-NC-SA": "Attribution needed. Non-commercial use only. Share-alike: derived works carry the same licence.",
    "CC-BY-NC-ND": "Attribution needed. Non-commercial use only. No derivatives: pass it on unchanged only.",
}

#: Up to so many classes the confusion matrix is a table of figures, up to the second number a picture.
CONFUSION_AS_TABLE, CONFUSION_AS_PICTURE = 12, 150

#: What became of a photo that was asked for.
STATUSES = {
    "ok": "on disk, and it decodes to the last byte",
    "gone": "no longer in the bucket (403, 404, 410), or taken out by download --recheck",
    "corrupt": "what came is not one whole photo",
    "failed": "the server did not deliver it, also after repeated attempts",
    "pending": "not fetched yet",
}

# -- what is read ----------------------------------------------------------------------------------------------


class Known:
    """The dataset's tables as lists of rows, each read once; None when a table is not there."""

    def __init__(self, dataset: Dataset) -> None:
        from shroomcurate.runs import latest_run, read_metrics

        self.dataset = dataset
        self._hashes: dict[str, str] = {}
        self.run = latest_run(dataset)
        self.metrics = read_metrics(self.run) if self.run else None

    def _rows(self, name: str, *columns: str) -> list[Row] | None:
        path = self.dataset.path(name)
        rows: list[Row] | None = read_table(path, list(columns)).to_pylist() if path.exists() else None
        return rows

    @cached_property
    def selection(self) -> list[Row] | None:
        """Wanted photos and the reserve."""
        columns = ("photo_id", "observation_uuid", "observer_id", "class", "class_name", "role", "license")
        return self._rows("selection.parquet", *columns, "attribution", "observed_on")

    @cached_property
    def downloads(self) -> list[Row] | None:
        """Photos asked for."""
        return self._rows("downloads.parquet", "photo_id", "class", "status", "role", "bytes")

    @cached_property
    def clean(self) -> list[Row] | None:
        """Photos judged."""
        columns = ("path", "photo_id", "class", "kept", "reason", "score", "decided_by", "duplicate_of")
        return self._rows("clean.parquet", *columns)

    @cached_property
    def splits(self) -> list[Row] | None:
        """Photos of the clean set."""
        return self._rows("splits.parquet", "path", "class", "split", "fold", "group")

    @cached_property
    def photos(self) -> dict[str, Path]:
        """Photos on disk, as :meth:`Dataset.photos` gives them."""
        return self.dataset.photos()

    @cached_property
    def selected(self) -> dict[int, Row]:
        """The selection's row of each photo id."""
        return {row["photo_id"]: row for row in self.selection or ()}

    def selected_at(self, path: str) -> Row | None:
        """Return the selection's row of the photo with this identity."""
        stem = Path(path).stem
        return self.selected.get(int(stem)) if stem.isdecimal() else None

    @cached_property
    def present(self) -> tuple[str, list[str]]:
        """The photos that the dataset offers, and in what words: kept ones once there was a cleaning."""
        if self.clean is not None:
            return "kept", [row["path"] for row in self.clean if row["kept"]]
        return "on disk", list(self.photos)

    @cached_property
    def receipts(self) -> dict[str, Receipt]:
        """Receipts of the tables that are there."""
        paths = {name: self.dataset.path(name) for name in WRITTEN_BY}
        found = {name: read_receipt(path) for name, path in paths.items() if path.exists()}
        return {name: receipt for name, receipt in found.items() if receipt}

    @cached_property
    def inputs(self) -> dict[str, str]:
        """What the page is made from -> sha256, '' for what was not there. The photos themselves are not hashed."""
        names = [name for name in WRITTEN_BY if name != "embeddings.parquet"]
        if self.run:
            names.append(f"runs/{self.run.name}/metrics.json")
        return {name: self.hash_now(name) for name in names}

    def hash_now(self, name: str) -> str:
        """Return the sha256 of a file of the dataset, '' when it is not there."""
        if name not in self._hashes:
            path = self.dataset.path(name)
            self._hashes[name] = file_hash(path) if path.exists() else ""
        return self._hashes[name]

    @cached_property
    def verdicts(self) -> str | None:
        """What people have decided, as a hash."""
        return digest(read_verdicts(self.dataset))


#: What makes a file anew; `restore` writes the cleaning's table too.
_REMADE_BY = {**WRITTEN_BY, "clean.parquet": "clean or restore", "splits.parquet": "split"}


def outdated(known: Known) -> dict[str, str]:
    """Return section -> what was done since its figures were made, and the command that makes them anew.

    A section is out of date when a file that it was made from has other bytes now, or is itself out of date.
    """
    made_from = {name: known.receipts[file].inputs for name, file in _TABLES.items() if file in known.receipts}
    if known.metrics is not None:
        made_from["baseline"] = known.metrics.get("inputs") or {}
    found: dict[str, str] = {}
    for name, inputs in made_from.items():
        since = {_REMADE_BY.get(file, file) for file, then in inputs.items() if known.hash_now(file) != then}
        if name == "removed" and known.receipts["clean.parquet"].options.get("verdicts") != known.verdicts:
            since.add("verdict")
        if since:
            made = "measured" if name == "baseline" else "made"
            found[name] = f"{made} before the last {' and the last '.join(sorted(since))}"
        elif name in ("split", "baseline") and found:
            found[name] = "what it was made from is out of date"
    return found


#: Section -> the table that it shows, in the order in which they are made.
_TABLES = {"downloads": "downloads.parquet", "removed": "clean.parquet", "split": "splits.parquet"}

# -- sections: each returns what the template shows, or None when its table is not there --------------------------


def asked(known: Known) -> dict[str, Any] | None:
    """Return the options of `query`, and what it took."""
    rows, receipt = known.selection, known.receipts.get("selection.parquet")
    if rows is None:
        return None
    roles = Counter(row["role"] for row in rows)
    dates = sorted(row["observed_on"] for row in rows if row["observed_on"])
    options = dict(receipt.options) if receipt else {}
    left_out = options.pop("left_out", {})
    there_was = {"photos in the catalogue": options.pop("photos_in_catalogue", None)} | {
        f"left out: {reason.replace('_', ' ')}": count for reason, count in left_out.items() if count
    }
    for among_the_receipts in ("catalogue", "sql"):
        options.pop(among_the_receipts, None)
    return {
        "options": sorted(as_words(options)),
        "there_was": {name: count for name, count in there_was.items() if count is not None},
        "taken": {
            "classes": len({row["class"] for row in rows}),
            "photos wanted": roles["wanted"],
            "photos in reserve": roles["reserve"],
            "observations": len({row["observation_uuid"] for row in rows}),
            "photographers": len({row["observer_id"] for row in rows}),
        },
        "dates": (dates[0].isoformat(), dates[-1].isoformat()) if dates else None,
    }


def as_words(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield options as names and words."""
    for name, value in options.items():
        if isinstance(value, (list, tuple)):
            yield name, ", ".join(map(str, value)) or "none"
        elif isinstance(value, Mapping):
            yield name, ", ".join(f"{key}: {each}" for key, each in sorted(value.items())) or "none"
        else:
            yield name, "not set" if value is None else ("no", "yes")[value] if isinstance(value, bool) else str(value)


def classes(known: Known) -> dict[str, Any] | None:
    """Return the counts of each class; None stands for 'no such table yet'."""
    names = {row["class"]: row["class_name"] for row in known.selection or ()}
    on_disk = Counter(Path(path).parent.name for path in known.photos)
    for name in on_disk:
        names.setdefault(name, name.replace("_", " "))
    if not names:
        return None
    counts: dict[str, Counter[str] | None] = {
        "wanted": _per_class(known.selection, "role", "wanted"),
        "fetched": on_disk if known.downloads is None else _per_class(known.downloads, "status", "ok"),
        "removed": _per_class(known.clean, "kept", False),
        "kept": _per_class(known.clean, "kept", True),
        **{split: _per_class(known.splits, "split", split) for split in ("train", "val", "test")},
    }
    rows = [
        {"class": name, "name": names[name]}
        | {column: None if found is None else found[name] for column, found in counts.items()}
        for name in sorted(names)
    ]
    widest = max(max(row["wanted"] or 0, row["fetched"] or 0) for row in rows) or 1
    total = {column: None if found is None else found.total() for column, found in counts.items()}
    fewest = sorted(rows, key=lambda row: (row["fetched"] if row["kept"] is None else row["kept"], row["class"]))
    return {"rows": rows, "total": total, "widest": widest, "fewest": fewest, "fetched": known.downloads is not None}


def _per_class(rows: list[Row] | None, column: str, value: object) -> Counter[str] | None:
    return None if rows is None else Counter(row["class"] for row in rows if row[column] == value)


def licences(known: Known) -> dict[str, Any] | None:
    """Return the licences of the photos that the dataset offers, and how many people took them."""
    if known.selection is None:
        return None
    if known.photos:
        words, paths = known.present
        found = [row for row in map(known.selected_at, paths) if row]
    else:
        words, found = "wanted", [row for row in known.selection if row["role"] == "wanted"]
    counts = Counter(str(row["license"]) for row in found)
    order = [*LICENCES, *sorted(counts.keys() - LICENCES.keys())]
    return {
        "of": words,
        "rows": [
            (name, counts[name], LICENCES.get(name, "Not known here: ask its owner.")) for name in order if counts[name]
        ],
        "total": counts.total(),
        "commercial": sum(count for name, count in counts.items() if name in LICENCES and "NC" not in name),
        "photographers": len({row["observer_id"] for row in found}),
    }


def downloads(known: Known) -> dict[str, Any] | None:
    """Return what became of the photos asked for."""
    rows = known.downloads
    if rows is None:
        return None
    counts = Counter(row["status"] for row in rows)
    order = [*STATUSES, *sorted(counts.keys() - STATUSES.keys())]
    return {
        "rows": [(name, counts[name], STATUSES.get(name, "")) for name in order if counts[name]],
        "total": len(rows),
        "megabytes": sum(row["bytes"] or 0 for row in rows if row["status"] == "ok") / 1e6,
        "from_reserve": sum(row["status"] == "ok" and row["role"] == "reserve" for row in rows),
    }


def split(known: Known) -> dict[str, Any] | None:
    """Check the split anew, against what ties photos together, not against what its stage says of itself."""
    from shroomcurate.groups import Leak, certify, photo_ties

    rows = known.splits
    if rows is None:
        return None
    ties = photo_ties(known.dataset)
    known_rows = [row for row in rows if row["path"] in ties]
    checked: dict[str, int] = {}
    leak = None
    try:
        parts = {row["path"]: (row["split"], row["fold"]) for row in known_rows}
        checked = certify(parts, ties, {row["path"]: row["group"] for row in known_rows})
    except Leak as found:
        leak = str(found)
    return {
        "counts": sorted(Counter(row["split"] for row in rows).items(), key=lambda entry: _split_order(entry[0])),
        "checked": checked,
        "leak": leak,
        "unknown": len(rows) - len(known_rows),
        "same_photographer": _same_photographer(known, rows),
    }


def _split_order(name: str) -> tuple[int, str]:
    order = ("train", "val", "test")
    return (order.index(name) if name in order else len(order), name)


def _same_photographer(known: Known, rows: list[Row]) -> tuple[int, int] | None:
    """Of how many test photos there are training photos by the same photographer, and of how many that is known."""
    observers: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        selected = known.selected_at(row["path"])
        if selected:
            observers[row["split"]].append(selected["observer_id"])
    trained = set(observers["train"])
    return (sum(one in trained for one in observers["test"]), len(observers["test"])) if observers["test"] else None


def baseline(known: Known) -> dict[str, Any] | None:
    """Return the newest run's figures, laid out for the page; what a run does not hold is left out."""
    metrics = known.metrics
    if metrics is None:
        return None
    labels, matrix = list(metrics.get("classes", ())), metrics.get("confusion") or []
    per_class = metrics.get("per_class", {})
    measures = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "macro_f1": "macro F1"}
    if len(labels) <= 5:
        del measures["top5"]  # it could not be wrong
    return {
        "run": known.run.name if known.run else "",
        "mode": metrics.get("mode"),
        "headline": [(word, metrics[key]) for key, word in measures.items() if metrics.get(key) is not None],
        "photos": sum(map(sum, matrix)),
        "names": {label: label.replace("_", " ") for label in labels},
        "labels": labels,
        "per_class": sorted(
            ((label, per_class[label]) for label in per_class),
            key=lambda each: (not each[1]["photos"], each[1]["f1"], each[0]),
        ),
        "confusion": _confusion(matrix) if len(matrix) <= CONFUSION_AS_PICTURE else None,
        "as_table": len(matrix) <= CONFUSION_AS_TABLE,
        "most_confused": metrics.get("most_confused", []),
        "reliability": [
            (name, [row for row in metrics.get(key) or () if row["photos"]])
            for key, name in (("reliability", "as trained"), ("reliability_calibrated", "calibrated"))
            if metrics.get(key)
        ],
        "ece": metrics.get("ece"),
        "ece_calibrated": metrics.get("ece_calibrated"),
        "temperature": metrics.get("temperature"),
        "raw_vs_clean": metrics.get("raw_vs_clean"),
        "by_observation": metrics.get("by_observation"),
        "left_out": metrics.get("left_out") or {},
        "notes": metrics.get("notes") or [],
    }


def _confusion(matrix: list[list[int]]) -> list[list[tuple[int, float]]]:
    """Each cell's photos, and its share of its row: of the photos that truly are of that class."""
    return [[(count, count / (sum(row) or 1)) for count in row] for row in matrix]
