"""FiftyOne's own format, which ``fiftyone.Dataset.from_dir`` reads: photos, ``metadata.json`` and ``samples.json``.

A photo's split and a person's verdict are tags, its class is the classification ``ground_truth``, where it was taken is
the location ``location``; every other column is a field of its name. FiftyOne stores a dataset as documents of MongoDB,
each with an id, and these files are those documents: https://docs.voxel51.com/user_guide/export_datasets.html.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shroomcurate.export.facts import about_labels, citation, how_made, license_counts
from shroomcurate.export.imagefolder import put_photo
from shroomcurate.export.options import ExportOptions
from shroomcurate.export.records import SCHEMA, Records
from shroomcurate.licences import terms
from shroomcurate.progress import Progress
from shroomcurate.safety import SAFETY_NOTICE

#: The version whose documents these are; a later one reads them, and changes them to its own.
VERSION = "1.0.0"

LABEL, LOCATION = "ground_truth", "location"

#: Columns that FiftyOne has another place for.
_ELSEWHERE = {"path", "file", "class", "label", "latitude", "longitude", "bytes", "width", "height"}

_FIELDS = "fiftyone.core.fields."
_TYPES = {"string": "StringField", "int64": "IntField", "double": "FloatField"}
_MIME = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif"}


def write(records: Records, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Fill an empty folder with ``data/<Class>/<photo>``, ``metadata.json`` and ``samples.json``."""
    dataset = _id("dataset", records.name)
    (folder / "metadata.json").write_text(json.dumps(_document(records, dataset), indent=1) + "\n", encoding="ascii")
    # Not one text of all: 200,000 samples are 200 MB.
    with (folder / "samples.json").open("w", encoding="ascii", newline="\n") as file:
        file.write('{"samples": [')
        for done, row in enumerate(records.rows()):
            put_photo(records, row, folder / "data" / row["file"], options.link)
            file.write((",\n" if done else "\n") + json.dumps(_sample(row, dataset)))
            progress(done + 1, len(records), "write photos")
        file.write("\n]}\n")


def _id(kind: str, name: str) -> dict[str, str]:
    """Return an id of MongoDB, 12 bytes, that the same thing always has."""
    return {"$oid": hashlib.sha256(f"{kind} {name}".encode()).hexdigest()[:24]}


# -- the samples --------------------------------------------------------------------------------------------------


def _sample(row: Mapping[str, Any], dataset: Mapping[str, str]) -> dict[str, Any]:
    file = row["file"]
    # Views that shuffle or take a sample go by this number, from 0 up to 1.
    chance = int(hashlib.sha256(file.encode()).hexdigest()[:12], 16) / 16**12
    sample = {
        "_id": _id("sample", file),
        "filepath": f"data/{file}",
        "tags": [tag for tag in (row["split"], row["verdict"]) if tag],
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": row["bytes"],
            "mime_type": _MIME.get(Path(file).suffix.lower()),
            "width": row["width"],
            "height": row["height"],
        },
        "_media_type": "image",
        "_rand": chance,
        LABEL: {"_id": _id(LABEL, file), "_cls": "Classification", "tags": [], "label": row["class"]},
        LOCATION: _location(row),
        **{column.name: _value(column.name, row[column.name]) for column in _columns()},
        "_dataset_id": dataset,
    }
    return {name: value for name, value in sample.items() if value is not None}


def _location(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if row["latitude"] is None or row["longitude"] is None:
        return None
    point = {"type": "Point", "coordinates": [row["longitude"], row["latitude"]]}
    return {"_id": _id(LOCATION, row["file"]), "_cls": "GeoLocation", "tags": [], "point": point}


def _value(name: str, value: Any) -> Any:
    return {"$date": f"{value}T00:00:00Z"} if name == "observed_on" and value is not None else value


# -- the dataset --------------------------------------------------------------------------------------------------


def _document(records: Records, dataset: Mapping[str, str]) -> dict[str, Any]:
    return {
        "_id": dataset,
        "name": records.name,
        "version": VERSION,
        "media_type": "image",
        "persistent": False,
        "tags": [],
        "description": f"{records.description} {SAFETY_NOTICE}",
        "info": _info(records),
        "app_config": {},
        "classes": {LABEL: list(records.classes)},
        "default_classes": list(records.classes),
        "mask_targets": {},
        "default_mask_targets": {},
        "skeletons": {},
        "sample_fields": list(_fields()),
        "frame_fields": [],
        "saved_views": [],
        "workspaces": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }


def _info(records: Records) -> dict[str, Any]:
    """Return what a person should know of the dataset; FiftyOne shows it as ``dataset.info``."""
    counts = license_counts(records)
    return {
        "safety_notice": SAFETY_NOTICE,
        "labels": about_labels(records),
        "licenses": counts,
        "terms": terms(counts),
        "attribution": "The field attribution, and ATTRIBUTION.csv in the exported folder.",
        "made": how_made(records),
        "created": records.created,
        "citation": citation(records),
    }


def _columns() -> Iterator[Any]:
    """Yield the columns that become fields of their own."""
    yield from (column for column in SCHEMA if column.name not in _ELSEWHERE)


def _fields() -> Iterator[dict[str, Any]]:
    """Yield the description of every field that a sample can have."""
    yield _field("id", "ObjectIdField", db_field="_id")
    yield _field("filepath", "StringField")
    yield _field("tags", "ListField", subfield=f"{_FIELDS}StringField", description="split, and verdict of a person")
    yield _embedded("metadata", "fiftyone.core.metadata.ImageMetadata", _metadata())
    yield _field("_media_type", "StringField")
    yield _field("_rand", "FloatField")
    yield _field("_dataset_id", "ObjectIdField")
    yield _field("created_at", "DateTimeField", read_only=True)
    yield _field("last_modified_at", "DateTimeField", read_only=True)
    label = [("label", "StringField"), ("confidence", "FloatField"), ("logits", "VectorField")]
    yield _embedded(LABEL, "fiftyone.core.labels.Classification", [*_of_label(), *_simple(label)])
    shapes = [("point", "GeoPointField"), ("line", "GeoLineStringField"), ("polygon", "GeoPolygonField")]
    yield _embedded(LOCATION, "fiftyone.core.labels.GeoLocation", [*_of_label(), *_simple(shapes)])
    for column in _columns():
        kind = "DateField" if column.name == "observed_on" else _TYPES[column.type]
        yield _field(column.name, kind, description=column.meaning)


def _metadata() -> list[dict[str, Any]]:
    numbers = [(name, "IntField") for name in ("width", "height", "num_channels")]
    return _simple([("size_bytes", "IntField"), ("mime_type", "StringField"), *numbers])


def _of_label() -> list[dict[str, Any]]:
    """Return the fields that every label has."""
    return [
        _field("id", "ObjectIdField", db_field="_id"),
        _field("tags", "ListField", subfield=f"{_FIELDS}StringField"),
    ]


def _simple(kinds: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [_field(name, kind) for name, kind in kinds]


def _embedded(name: str, kind: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {**_field(name, "EmbeddedDocumentField"), "embedded_doc_type": kind, "fields": fields}


def _field(
    name: str,
    kind: str,
    *,
    db_field: str | None = None,
    subfield: str | None = None,
    description: str | None = None,
    read_only: bool = False,
) -> dict[str, Any]:
    return {
        "name": name,
        "ftype": f"{_FIELDS}{kind}",
        "embedded_doc_type": None,
        "subfield": subfield,
        "fields": [],
        "db_field": db_field or name,
        "description": description,
        "info": None,
        "read_only": read_only,
    }
