"""``shroomcurate.lock``: which photos a dataset holds, so that anybody can fetch these and tell whether he has them.

A text in TOML, the same bytes for the same dataset: no time, no path. At its head stands what the dataset was made
from; then, for each class, its photos, a line each, sorted by id, so that a photo more or less is a line of a diff.
What many photos share stands once: the names of taxa, and the line that must stand beside a photographer's photos.
250,000 photos take 46 MB: four fifths of it are hashes, UUIDs and places, which nothing makes shorter.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from shroomcurate.build.recipe import Recipe
from shroomcurate.clean import ASIDE
from shroomcurate.dataset import Dataset, Receipt, make_table, read_receipt, read_table, write_bytes
from shroomcurate.errors import DamagedFile, SourceMissing
from shroomcurate.select import SCHEMA

FORMAT = 1

#: What stands in the line of a photo, between blanks; ``-`` where it is not known.
LINE = (
    *("photo_id", "extension", "license", "sha256", "observation_uuid", "observer_id", "taxon_id"),
    *("observed_on", "latitude", "longitude"),
)
_HEAD = f"""\
# The photos of a dataset. `shroomcurate build` has written this file, `shroomcurate build --locked` fetches them again.
# A line of a class: {" ".join(LINE[:5])}
#                   {" ".join(LINE[5:])}; - where it is not known.
"""
_NUMBERS = {"photo_id": int, "observer_id": int, "taxon_id": int, "latitude": float, "longitude": float}


@dataclass(frozen=True)
class Lock:
    """What a lock holds."""

    options: Mapping[str, Mapping[str, Any]]
    """Stage -> its options, those that were left away not among them."""
    facts: Mapping[str, Any]
    """What the dataset was made from."""
    photos: Sequence[Mapping[str, Any]]
    """Rows of a selection, with ``sha256``."""
    sha256: str
    """Of the lock itself."""

    @property
    def size(self) -> str:
        """The size in which the photos were fetched."""
        return str(self.options["download"]["size"])


def write_lock(dataset: Dataset, recipe: Recipe) -> None:
    """Write the lock of a finished dataset, unless it is there as it would be."""
    content = "".join(_text(dataset)).encode()
    if not recipe.lock.is_file() or recipe.lock.read_bytes() != content:
        write_bytes(recipe.lock, content)


def read_lock(file: Path) -> Lock:
    """Read a lock.

    Raises
    ------
    SourceMissing
        There is none.
    DamagedFile
        It is none, or of a later version; the message names the class and the line.
    """
    try:
        content = file.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise SourceMissing(
            f"There is no file {file}.", "`shroomcurate build` writes it when a dataset is done."
        ) from error
    try:
        told = tomllib.loads(content.decode())
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']}, not {FORMAT}")
        photos = [row for folder in told.get("class", {}) for row in _rows(told, folder)]
        if len(photos) != told["photos"] or len({row["photo_id"] for row in photos}) != len(photos):
            raise ValueError(f"it says that it holds {told['photos']} photos, and holds {len(photos)}, or one twice")
        str(told["options"]["download"]["size"])
        for options in told["options"].values():
            dict(options.items())
        make_table(SCHEMA, photos)  # types, and numbers that are too large
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DamagedFile(
            f"{file} cannot be read: {error if isinstance(error, ValueError) else repr(error)}.",
            "Take it as it was from where it came, or delete it and type: shroomcurate build",
        ) from error
    facts = {name: told.get(name, {}) for name in ("versions", "dump", "sql", "catalogue")}
    return Lock(told["options"], facts, photos, hashlib.sha256(content).hexdigest())


# -- writing ---------------------------------------------------------------------------------------------------


def _text(dataset: Dataset) -> Iterator[str]:
    receipts = {name: read_receipt(dataset.require(f"{name}.parquet")) for name in ("selection", "downloads", "clean")}
    selection, downloads, clean = (receipt or Receipt("", {}) for receipt in receipts.values())
    rows = _kept(dataset)
    classes: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        classes.setdefault(row["class"], []).append(row)
    yield _HEAD
    sql = hashlib.sha256(str(selection.options.get("sql", "")).encode()).hexdigest()
    known = {"format": FORMAT, "photos": len(rows), "classes": len(classes)}
    yield _table(None, {**known, "catalogue": selection.options.get("catalogue", ""), "sql": sql})
    yield _table("dump", selection.options.get("dump") or {})
    versions = {"query": selection.version, "download": downloads.version, "clean": clean.version}
    yield _table("versions", {**versions, **(clean.options.get("versions") or {})})
    yield _table("options.query", selection.options.get("asked") or {})
    yield _table("options.download", downloads.options)
    aside = {*ASIDE, "left_alone", "versions"}
    yield _table("options.clean", {name: value for name, value in clean.options.items() if name not in aside})
    yield _table(
        "taxa", dict(sorted({str(row["taxon_id"]): row["taxon_name"] for row in rows}.items(), key=_by_number))
    )
    yield from _credits(rows)
    for name, photos in sorted(classes.items()):
        first = photos[0]
        yield _table(f"class.{_key(name)}", {"name": first["class_name"], "taxon_id": first["class_taxon_id"]})
        lines = "".join(f"{_line(row)}\n" for row in sorted(photos, key=lambda row: row["photo_id"]))
        yield f"photos = '''\n{lines}'''\n"


def _kept(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the rows of the selection whose photos are kept, with the hash of each."""
    kept = read_table(dataset.require("clean.parquet"), ["path", "kept"])
    paths = set(kept.filter(kept["kept"])["path"].to_pylist())
    fetched = read_table(dataset.require("downloads.parquet"), ["photo_id", "path", "sha256"])
    columns = (fetched[name].to_pylist() for name in ("photo_id", "path", "sha256"))
    hashes = {photo_id: sha256 for photo_id, path, sha256 in zip(*columns, strict=True) if path in paths}
    wanted = ["class", "class_name", "class_taxon_id", "taxon_name", "attribution", *LINE[:3], *LINE[4:]]
    table = read_table(dataset.require("selection.parquet"), wanted)
    return [
        {**row, "sha256": hashes[row["photo_id"]]}
        for batch in table.to_batches(max_chunksize=10_000)
        for row in batch.to_pylist()
        if row["photo_id"] in hashes
    ]


def _credits(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield, by licence and photographer, the line that must stand beside the photo; photos that have another by id."""
    shared: dict[str, dict[str, str]] = {}
    own: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["photo_id"]):
        lines = shared.setdefault(row["license"] or "-", {})
        line = row["attribution"] or ""
        if lines.setdefault(str(row["observer_id"] or "-"), line) != line:
            own[str(row["photo_id"])] = line
    for license_name, lines in sorted(shared.items()):
        yield _table(f"attribution.{_key(license_name)}", dict(sorted(lines.items(), key=_by_number)))
    yield _table("attribution_of_photo", own)


def _by_number(item: tuple[str, object]) -> tuple[int, str]:
    return (int(item[0]) if item[0].isdigit() else -1), item[0]


def _line(row: Mapping[str, Any]) -> str:
    return " ".join("-" if row[name] in (None, "") else str(row[name]) for name in LINE)


def _table(name: str | None, values: Mapping[str, Any]) -> str:
    """Return a table of TOML; what is None has no place in it, and an empty table none in the file."""
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in values.items() if value is not None]
    if not lines:
        return ""
    return ("" if name is None else f"\n[{name}]\n") + "".join(lines)


def _key(name: str) -> str:
    plain = name.replace("-", "").replace("_", "")
    return name if plain.isascii() and plain.isalnum() else _value(name)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(str(key))} = {_value(each)}' for key, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # TOML's texts, numbers and truths are JSON's, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# -- reading ---------------------------------------------------------------------------------------------------


def _rows(told: Mapping[str, Any], folder: str) -> Iterator[dict[str, Any]]:
    if not folder or folder.startswith(".") or set(folder) & set("/\\\0"):
        raise ValueError(f"the class {folder!r} is no name of a folder")
    of_class = told["class"][folder]
    for rank, line in enumerate(of_class["photos"].splitlines(), 1):
        words = line.split(" ")
        if len(words) != len(LINE) or len(words[3]) != 64:
            raise ValueError(f"line {rank} of the class {folder} is {line[:60]!r}")
        row = {name: _read(name, word) for name, word in zip(LINE, words, strict=True)}
        credit = told["attribution"][row["license"] or "-"][words[5]]
        yield {
            **row,
            "class": folder,
            "class_name": of_class["name"],
            "class_taxon_id": of_class["taxon_id"],
            "taxon_name": told.get("taxa", {}).get(words[6]),
            "rank_in_class": rank,
            "role": "wanted",
            "attribution": told.get("attribution_of_photo", {}).get(words[0], credit) or None,
        }


def _read(name: str, word: str) -> Any:
    if word == "-":
        return None
    if name == "observed_on":
        return date.fromisoformat(word)
    return _NUMBERS.get(name, str)(word)
