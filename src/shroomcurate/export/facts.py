"""What is said of an export as a whole, in words: for dataset cards and descriptions that machines read."""

from __future__ import annotations

import json
import re
from collections import Counter

from shroomcurate.export.records import Records
from shroomcurate.licences import LICENCES

UNKNOWN = "unknown"

#: Where iNaturalist's photos are kept, and where that is described.
REGISTRY = "https://registry.opendata.aws/inaturalist-open-data/"
OPEN_DATA = "https://github.com/inaturalist/inaturalist-open-data"


def license_counts(records: Records) -> dict[str, int]:
    """Return licence -> photos, the freest first; ``unknown`` last."""
    counts = Counter(name or UNKNOWN for name in records.table["license"].to_pylist())
    order = [*LICENCES, *sorted(set(counts) - {*LICENCES, UNKNOWN}), UNKNOWN]
    return {name: counts[name] for name in order if counts[name]}


def asks(license_name: str) -> str:
    """Return what a licence asks of whoever uses the photo; of an unknown one, what that means."""
    return LICENCES.get(license_name, "Nothing is known: all rights are reserved, so ask the owner.")


def class_counts(records: Records) -> dict[str, dict[str | None, int]]:
    """Return class -> split -> photos, in the classes' order; the split is None where there is none."""
    counts = Counter(zip(records.table["class"].to_pylist(), records.table["split"].to_pylist(), strict=True))
    return {name: {split: counts[name, split] for split, _ in records.parts()} for name in records.classes}


def from_inaturalist(records: Records) -> bool:
    """Return whether the photos were selected from iNaturalist; else they are a tree that somebody made."""
    return "selection.parquet" in records.receipts


def about_labels(records: Records) -> str:
    """Return where the labels come from and how far they can be trusted."""
    if not from_inaturalist(records):
        return "A photo's class is the folder that it lay in. Nothing is known here of who named it."
    return (
        "A photo's class is what the observation was identified as at iNaturalist, by its community and mostly from "
        "photographs. Some identifications are wrong, and look-alikes are wrong more often than others. Coordinates "
        "may be obscured by the observer or for a species in danger."
    )


def how_made(records: Records) -> list[str]:
    """Return a line for each table behind the export: its stage, version and options."""
    lines = []
    for name, receipt in records.receipts.items():
        options = {key: value for key, value in receipt.options.items() if value or value == 0}
        said = json.dumps(options, sort_keys=True, default=str, ensure_ascii=False)
        lines.append(f"{name}: shroomcurate {receipt.stage}, version {receipt.version}, options {said}")
    return lines


def citation(records: Records) -> str:
    """Return BibTeX for the dataset. The photographers are too many for it: their names stand in ATTRIBUTION.csv."""
    selected = from_inaturalist(records)
    fields = {
        "title": records.name,
        "author": "{iNaturalist contributors}" if selected else "",
        "year": records.created[:4],
        "howpublished": rf"\url{{{REGISTRY}}}" if selected else "",
        "note": f"{records.description} Photographers and licences: ATTRIBUTION.csv, which comes with it.",
    }
    key = re.sub(r"[^A-Za-z0-9]+", "-", records.name).strip("-").lower() or "photos"
    body = "".join(f",\n  {name} = {{{_tex(value)}}}" for name, value in fields.items() if value)
    return f"@misc{{{key}{body}\n}}"


def _tex(text: str) -> str:
    """Return a text with what BibTeX takes for its own escaped; what is BibTeX already stays."""
    return text if text.startswith(("{", "\\")) else re.sub(r"([&%$#_{}])", r"\\\1", text)
