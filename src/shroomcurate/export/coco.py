"""COCO's JSON for classification: ``annotations/<split>.json``, and the photos in class folders beside.

An annotation says which category the photo shows. It has no box: nobody drew one, and a box round the whole photo would
be a claim. The layout is that of https://cocodataset.org/#format-data, as the iNaturalist competitions used it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shroomcurate.export.imagefolder import put_photo
from shroomcurate.export.manifest import lined
from shroomcurate.export.options import ExportOptions
from shroomcurate.export.records import Records
from shroomcurate.licences import DEEDS, LICENSES
from shroomcurate.progress import Progress

#: What an image's entry says under the same name as the records.
_KEPT = (
    *("width", "height", "photo_id", "photo_uuid", "photo_url", "observation_uuid", "observation_url", "observer_id"),
    *("attribution", "latitude", "longitude", "split", "group", "sha256"),
)


def write(records: Records, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Fill an empty folder with the photos, and a file of annotations for each split."""
    images: dict[str, list[dict[str, Any]]] = defaultdict(list)
    annotations: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, row in enumerate(records.rows(), 1):
        split, name = row["split"] or "all", f"{row['split']}/{row['file']}" if row["split"] else row["file"]
        put_photo(records, row, folder / name, options.link)
        images[split].append(_image(row, number, name))
        annotations[split].append({"id": number, "image_id": number, "category_id": row["label"]})
        progress(number, len(records), "write photos")
    (folder / "annotations").mkdir()
    for split, of_split in images.items():
        parts = lined(_about(records, split), {"images": of_split, "annotations": annotations[split]})
        with (folder / "annotations" / f"{split}.json").open("w", encoding="utf-8") as handle:
            handle.writelines(parts)


def _about(records: Records, split: str) -> dict[str, Any]:
    """Return what is the same in all files: ids of licences and categories hold across the splits."""
    info = {"description": f"{records.name}, {split}", "date_created": records.created}
    return {
        "info": info,
        "licenses": [{"id": LICENSES.index(name), "name": name, "url": DEEDS[name]} for name in LICENSES],
        "categories": [{"id": label, "name": name, "supercategory": ""} for label, name in enumerate(records.classes)],
    }


def _image(row: Mapping[str, Any], number: int, name: str) -> dict[str, Any]:
    known = {column: row[column] for column in _KEPT if row[column] is not None}
    license_id = LICENSES.index(row["license"]) if row["license"] in LICENSES else None
    return {"id": number, "file_name": name, "license": license_id, "date_captured": row["observed_on"], **known}
