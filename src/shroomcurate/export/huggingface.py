"""Hugging Face: Parquet shards and a dataset card, which ``datasets.load_dataset(FOLDER)`` reads.

The features stand in each shard's schema and, as the Hub wants them, in the head of the card. Written by PyArrow alone.
Sources: https://huggingface.co/docs/datasets/repository_structure and https://huggingface.co/docs/hub/datasets-cards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shroomcurate.export.credit import NOTICE, PAGE, TABLE, escaped
from shroomcurate.export.facts import (
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
from shroomcurate.export.parquet import COLUMNS, UNSPLIT, Shard, features, write_shards
from shroomcurate.export.records import SCHEMA, Records
from shroomcurate.licences import DEEDS, terms
from shroomcurate.progress import Progress
from shroomcurate.safety import SAFETY_NOTICE

CARD = "README.md"

#: The Hub's sizes: below this many photos -> its word.
_SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}

#: Licences for which the Hub has no word of its own; others are ``cc-by-nc-4.0`` and the like.
_HUB = {"CC0": "cc0-1.0", "PD": "other", UNKNOWN: "unknown"}


def write(records: Records, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Fill an empty folder with ``data/*.parquet`` and the card."""
    shards = write_shards(records, folder, options.shard_mb, progress)
    (folder / CARD).write_text(_card(records, shards), encoding="utf-8")


def _card(records: Records, shards: Sequence[Shard]) -> str:
    citing = (
        f"## Citing\n\nName the photographers, as {TABLE} does, beside each photo that you show. Of the whole:\n\n"
        f"```bibtex\n{citation(records)}\n```"
    )
    parts = [
        f"---\n{_head(records, shards)}---",
        f"# {escaped(records.name)}",
        f"{escaped(records.description)} For training and testing classifiers of photographs.",
        f"> **{SAFETY_NOTICE}** This holds for every model that learns from these photos.",
        _reading(shards),
        _contents(records),
        _making(records),
        _licensing(records),
        citing,
    ]
    return "\n\n".join(parts) + "\n"


# -- the head, for machines ---------------------------------------------------------------------------------------


def _head(records: Records, shards: Sequence[Shard]) -> str:
    """Return the card's YAML. Every text in it is quoted as JSON, which YAML reads, too."""
    words = sorted({_HUB.get(name) or f"{name.lower()}-4.0" for name in license_counts(records)})
    size = next((word for limit, word in _SIZES.items() if len(records) < limit), "10M<n<100M")
    splits = {shard.split: [each for each in shards if each.split == shard.split] for shard in shards}
    tree: dict[str, Any] = {
        "pretty_name": records.name,
        "license": words[0] if len(words) == 1 else words,
    }
    if "other" in words or len(words) > 1:
        tree |= {"license_name": "each-photo-has-its-own", "license_link": NOTICE}
    tree |= {
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "annotations_creators": ["crowdsourced"] if from_inaturalist(records) else ["other"],
        "tags": ["biology", "inaturalist"] if from_inaturalist(records) else ["biology"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*"} for name in splits],
            }
        ],
        "dataset_info": {
            "features": [_feature(name, told) for name, told in features(records.classes).items()],
            "splits": [
                {
                    "name": name,
                    "num_bytes": sum(shard.decoded_bytes for shard in of_split),
                    "num_examples": sum(shard.photos for shard in of_split),
                }
                for name, of_split in splits.items()
            ],
            "download_size": sum(shard.bytes for shard in shards),
            "dataset_size": sum(shard.decoded_bytes for shard in shards),
        },
    }
    return "".join(_yaml(key, value, "") for key, value in tree.items())


def _feature(name: str, told: dict[str, Any]) -> dict[str, Any]:
    """Return a feature in the words of the card's head."""
    kind = told["_type"]
    if kind == "ClassLabel":
        return {
            "name": name,
            "dtype": {"class_label": {"names": {str(n): each for n, each in enumerate(told["names"])}}},
        }
    return {"name": name, "dtype": "image" if kind == "Image" else told["dtype"]}


def _yaml(key: str, value: Any, indent: str) -> str:
    """Return a key with its value as lines of YAML."""
    if isinstance(value, dict):
        return f"{indent}{key}:\n" + "".join(_yaml(_quoted(name), each, f"{indent}  ") for name, each in value.items())
    if isinstance(value, list):
        return f"{indent}{key}:\n" + "".join(_item(each, indent) for each in value)
    return f"{indent}{key}: {value if isinstance(value, int) else _quoted(value)}\n"


def _item(value: Any, indent: str) -> str:
    if not isinstance(value, dict):
        return f"{indent}- {_quoted(value)}\n"
    lines = "".join(_yaml(_quoted(name), each, f"{indent}  ") for name, each in value.items())
    return f"{indent}- {lines[len(indent) + 2 :]}"


def _quoted(text: str) -> str:
    """Return a text as a YAML scalar: plain where it is a plain word, else quoted."""
    if re.fullmatch(r"[a-z][a-z_]*", text) and text not in (
        "null",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
    ):
        return text
    # YAML takes no such characters as they are.
    return re.sub(
        "[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]",
        lambda found: f"\\u{ord(found[0]):04x}",
        json.dumps(text, ensure_ascii=False),
    )


# -- the body, for people -----------------------------------------------------------------------------------------


def _reading(shards: Sequence[Shard]) -> str:
    split = shards[0].split
    return (
        "## Reading it\n\n```python\nfrom datasets import load_dataset\n\n"
        f'photos = load_dataset("FOLDER", split="{split}")  # or the name it has on the Hub\n'
        'photos[0]["image"], photos.features["label"].int2str(photos[0]["label"])\n```\n\n'
        "The photos are the files as they came, not recoded; those of a shard are in a mixed order."
    )


def _contents(records: Records) -> str:
    counts = class_counts(records)
    splits = [split for split, _ in records.parts()]
    names = [split or "photos" for split in splits]
    rows = [
        f"| {label} | {escaped(name)} | " + " | ".join(str(counts[name][split]) for split in splits) + " |"
        for label, name in enumerate(records.classes)
    ]
    meanings = {column.name: column.meaning for column in SCHEMA}
    meanings |= {"image": "the photo: its file's bytes and name", "file": "its name: class folder and file"}
    columns = [f"| `{name}` | {escaped(meanings[name])} |" for name in ("image", *COLUMNS)]
    told = (
        "Photos of one observation, and near-duplicates that were found, are in one split and have the same `group`."
        if records.splits
        else f"The photos are not split; `{UNSPLIT}` is but the name that the format asks for."
    )
    table = [f"| label | class | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}", *rows]
    return "\n".join(
        [
            "## What is in it",
            "",
            told,
            about_labels(records),
            "",
            *table,
            "",
            "| column | meaning |",
            "|---|---|",
            *columns,
        ]
    )


def _making(records: Records) -> str:
    lines = [f"- {escaped(line)}" for line in how_made(records)] or ["- From a folder of photos by class, as it was."]
    return "\n".join(["## How it was made", "", "`MANIFEST.json` has the same for machines.", "", *lines])


def _licensing(records: Records) -> str:
    counts = license_counts(records)
    rows = []
    for name, photos in counts.items():
        linked = f"[{name}]({DEEDS[name]})" if name in DEEDS else name
        rows.append(f"| {linked} | {photos:,} | {asks(name)} |")
    heed = [f"- {sentence}" for sentence in terms(counts)]
    where = (
        f"Each photo keeps its own licence, in the columns `license` and `attribution`, in {TABLE} and in {PAGE}; "
        f"{NOTICE} says more."
    )
    return "\n".join(
        [
            "## Licences",
            "",
            where,
            "",
            "| licence | photos | what it asks |",
            "|---|---|---|",
            *rows,
            *(["", "Who uses the whole must heed the terms of all:", "", *heed] if heed else []),
        ]
    )
