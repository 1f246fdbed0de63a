"""Croissant 1.1: the shards, a table of all facts, and ``croissant.json``, which describes both to machines.

Five record sets: ``images`` holds each photo with its label, split, licence and attribution, and is read shard by
shard; ``photos`` holds all that is known of each but the photo, and refers to ``classes``, ``splits`` and ``licenses``.
``images`` refers to none of them, for the reader ``mlcroissant`` joins in memory: every photo would be there at once.

The vocabulary is that of https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, with its extension for
responsible AI, and PROV-O and schema.org where that recommends them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shroomcurate import __version__
from shroomcurate.dataset import file_hash
from shroomcurate.export.facts import (
    OPEN_DATA,
    REGISTRY,
    UNKNOWN,
    about_labels,
    asks,
    citation,
    class_counts,
    from_inaturalist,
    how_made,
    license_counts,
)
from shroomcurate.export.options import ExportOptions
from shroomcurate.export.parquet import write_shards
from shroomcurate.export.records import SCHEMA, Records
from shroomcurate.licences import DEEDS, terms
from shroomcurate.progress import Progress
from shroomcurate.safety import SAFETY_NOTICE

FILE, TABLE = "croissant.json", "photos.parquet"

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")

#: How the reader knows Parquet.
_PARQUET = "application/x-parquet"

#: What a column of each type is called in schema.org.
_TYPES = {"string": "sc:Text", "int64": "sc:Integer", "double": "sc:Float"}

#: Columns that mean more than their type, and the property of an image that they are.
_DATA_TYPES = {
    "observed_on": "sc:Date",
    "license_url": "sc:URL",
    "photo_url": "sc:URL",
    "observation_url": "sc:URL",
}
_PROPERTIES = {
    "license_url": "sc:license",
    "attribution": "sc:creditText",
    "observer_id": "prov:wasAttributedTo",
    "photo_url": "prov:wasDerivedFrom",
    "bytes": "sc:contentSize",
    "sha256": "sc:sha256",
    "width": "sc:width",
    "height": "sc:height",
}

#: What stands beside the photo itself in ``images``.
_BESIDE_THE_IMAGE = ("file", "label", "class", "license", "license_url", "attribution", "photo_id", "observation_uuid")

_PERSONAL = (
    "Names of photographers, in the attribution that their licences ask for, and where and on which day they were, as "
    "they made it public."
)

_SPLITS = {"train": "cr:TrainingSplit", "val": "cr:ValidationSplit", "test": "cr:TestSplit"}


def write(records: Records, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Fill an empty folder with ``data/*.parquet``, ``photos.parquet`` and ``croissant.json``."""
    import pyarrow.parquet as pq

    shards = write_shards(records, folder, options.shard_mb, progress)
    pq.write_table(records.table.drop_columns(["path"]), folder / TABLE, compression="zstd")
    described = {
        **_about(records),
        "distribution": [_file(folder, TABLE), *(_file(folder, shard.path) for shard in shards), _shards()],
        "recordSet": list(_record_sets(records)),
    }
    (folder / FILE).write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# -- the dataset --------------------------------------------------------------------------------------------------


def _context() -> dict[str, Any]:
    """Return what the words of the description stand for."""
    own = (
        *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract", "field"),
        *("fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key"),
        *("md5", "parentField", "path", "readLines", "recordSet", "references", "regex", "repeated", "replace"),
        *("samplingRate", "sdVersion", "separator", "source", "subField", "transform", "unArchive"),
    )
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "prov": "http://www.w3.org/ns/prov#",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "description": {"@container": "@language"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "name": {"@container": "@language"},
        **{word: f"cr:{word}" for word in own},
    }


def _about(records: Records) -> dict[str, Any]:
    """Return what is said of the dataset as a whole."""
    counts = license_counts(records)
    known = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "name": records.name,
        "description": f"{records.description} {about_labels(records)} {SAFETY_NOTICE}",
        "conformsTo": list(CONFORMS_TO),
        "version": "1.0.0",
        "url": "./",  # where the description lies, there is the dataset
        "license": [DEEDS.get(name, name) for name in counts if name != UNKNOWN] or ["All rights reserved"],
        "usageInfo": [_usage(name, photos) for name, photos in counts.items()],
        "creator": _creator(records),
        "datePublished": records.created,
        "citeAs": citation(records),
        "keywords": ["image classification", "biodiversity", *(["iNaturalist"] if from_inaturalist(records) else [])],
        "rai:dataPreprocessingProtocol": how_made(records),
        "rai:dataLimitations": [about_labels(records), SAFETY_NOTICE, *terms(counts)],
        "rai:personalSensitiveInformation": _PERSONAL if from_inaturalist(records) else None,
        "prov:wasDerivedFrom": {"@id": REGISTRY} if from_inaturalist(records) else None,
        "prov:wasGeneratedBy": [_activity(name, receipt.stage) for name, receipt in records.receipts.items()],
    }
    return {name: value for name, value in known.items() if value}


def _usage(name: str, photos: int) -> dict[str, Any]:
    """Return a licence with the number of photos under it and what it asks."""
    known = {
        "@type": "sc:CreativeWork",
        "name": name,
        "description": f"{photos:,} photos. {asks(name)}",
        "url": DEEDS.get(name),
    }
    return {key: value for key, value in known.items() if value}


def _creator(records: Records) -> dict[str, str]:
    if from_inaturalist(records):
        return {"@type": "sc:Organization", "name": "iNaturalist contributors", "url": OPEN_DATA}
    return {"@type": "sc:Organization", "name": "The owners of the photos, not known here"}


def _activity(table: str, stage: str) -> dict[str, Any]:
    agent = {"@type": "prov:SoftwareAgent", "prov:label": f"shroomcurate {__version__}"}
    return {"@type": "prov:Activity", "prov:label": f"{stage}: {table}", "prov:wasAssociatedWith": agent}


# -- the files ----------------------------------------------------------------------------------------------------


def _file(folder: Path, path: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{(folder / path).stat().st_size} B",
        "encodingFormat": _PARQUET,
        "sha256": file_hash(folder / path),
    }


def _shards() -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "description": "The photos, by split.",
        "encodingFormat": _PARQUET,
        "includes": "data/*.parquet",
    }


# -- the records --------------------------------------------------------------------------------------------------


def _record_sets(records: Records) -> Iterator[dict[str, Any]]:
    yield {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "Each photo with its label, licence and attribution; all else is in photos, by the same file.",
        "dataType": "sc:ImageObject",
        "key": {"@id": "images/file"},
        "field": list(_image_fields(records)),
    }
    references = {"class": "classes/name", "license": "licenses/name"}
    if records.splits:
        references["split"] = "splits/name"
    yield {
        "@type": "cr:RecordSet",
        "@id": "photos",
        "name": "photos",
        "description": "All that is known of each photo.",
        "key": {"@id": "photos/file"},
        "field": [
            _column_field("photos", column.name, {"fileObject": {"@id": TABLE}}, references.get(column.name))
            for column in SCHEMA
            if column.name != "path"
        ],
    }
    yield from _enumerations(records)


def _image_fields(records: Records) -> Iterator[dict[str, Any]]:
    source = {"fileSet": {"@id": "shards"}}
    content = {**source, "extract": {"column": "image"}, "transform": {"jsonPath": "bytes"}}
    yield _field("images/image", ["sc:ImageObject"], "the photo, its file as it came", source=content)
    if records.splits:
        # From the shard's name, so that a reader that wants one split opens its shards only.
        named = {"regex": f"^data/({'|'.join(records.splits)})-.+[.]parquet$"}
        from_name = {**source, "extract": {"fileProperty": "fullpath"}, "transform": named}
        yield _field("images/split", ["sc:Text"], "train, val or test", source=from_name)
    for name in _BESIDE_THE_IMAGE:
        yield _column_field("images", name, source)


def _column_field(
    record_set: str, name: str, source: Mapping[str, Any], references: str | None = None
) -> dict[str, Any]:
    """Return the field that a column of the table is."""
    column = next(each for each in SCHEMA if each.name == name)
    types = [_DATA_TYPES.get(name, _TYPES[column.type]), *(["cr:Label"] if name in ("class", "label") else [])]
    field = _field(f"{record_set}/{name}", types, column.meaning, source={**source, "extract": {"column": name}})
    if name in _PROPERTIES:
        field["equivalentProperty"] = _PROPERTIES[name]
    if references:
        field["references"] = {"field": {"@id": references}}
    return field


def _field(name: str, types: list[str], description: str, **more: Any) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name.split("/")[1],
        "description": description,
        "dataType": types[0] if len(types) == 1 else types,
        **more,
    }


def _enumerations(records: Records) -> Iterator[dict[str, Any]]:
    """Yield the sets that the photos refer to, with their few records inside."""
    counts, text, number, url = class_counts(records), ["sc:Text"], ["sc:Integer"], ["sc:URL"]
    yield _enumeration(
        "classes",
        "sc:Enumeration",
        "The labels.",
        {"name": text, "label": number, "photos": number},
        [(name, label, sum(counts[name].values())) for label, name in enumerate(records.classes)],
    )
    yield _enumeration(
        "licenses",
        "sc:Enumeration",
        "The photos' licences.",
        {"name": text, "url": url, "photos": number, "asks": text},
        [(name, DEEDS.get(name), photos, asks(name)) for name, photos in license_counts(records).items()],
    )
    if records.splits:
        yield _enumeration(
            "splits",
            "cr:Split",
            "Photos of one observation, and near-duplicates that were found, are in one split.",
            {"name": text, "url": url, "photos": number},
            [(split, _SPLITS[split], len(part)) for split, part in records.parts() if split],
        )


def _enumeration(
    name: str, kind: str, description: str, fields: Mapping[str, list[str]], rows: Sequence[tuple[Any, ...]]
) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "dataType": kind,
        "key": {"@id": f"{name}/name"},
        "field": [_field(f"{name}/{field}", types, field) for field, types in fields.items()],
        "data": [{f"{name}/{field}": value for field, value in zip(fields, row, strict=True)} for row in rows],
    }
