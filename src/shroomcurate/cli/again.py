"""Cleaning again as it was cleaned last, for the review page: a process of its own that tells everything as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from shroomcurate.dataset import Dataset, file_hash, read_receipt
from shroomcurate.errors import ShroomError, WeightsMissing
from shroomcurate.processes import own_command
from shroomcurate.progress import Progress


def command(dataset: Dataset) -> Sequence[str]:
    """Return the command that cleans a dataset again."""
    return own_command("shroomcurate.cli.again", str(dataset.images), "foreign" * dataset.foreign)


def main() -> None:
    """Embed what is new and clean, with the options in the receipts. Each line printed is an event, as JSON."""
    images, foreign = sys.argv[1:3]
    dataset = Dataset(Path(images).parent, images if foreign else None)
    try:
        _say({"state": "done", "summary": _clean_again(dataset, _told())})
    except ShroomError as error:
        _say({"state": "failed", "what": error.what, "hint": error.hint})


def _clean_again(dataset: Dataset, progress: Progress) -> dict[str, object]:
    from shroomcurate.clean import CleanOptions, clean
    from shroomcurate.embed import EmbedOptions, embed

    then = _options(dataset, "embeddings.parquet") or _options(dataset, "clean.parquet")
    embedder = str(then.get("embedder", EmbedOptions.embedder))
    if _has_its_weights(dataset, embedder, then.get("weights")):
        embed(dataset, EmbedOptions(embedder), progress)
    then = _options(dataset, "clean.parquet")
    known = {field.name: then[field.name] for field in fields(CleanOptions) if field.name in then}
    return asdict(clean(dataset, CleanOptions(**known), progress))


def _has_its_weights(dataset: Dataset, embedder: str, then: str | None) -> bool:
    """Return whether the network can embed what is new as it did before; `then` is the hash of its weights.

    Otherwise what is embedded is judged again, and `clean` names the photos that are not. With other weights all photos
    would be embedded anew, which takes long and is not what 'Apply' says.

    Raises
    ------
    WeightsMissing
        Nothing is embedded yet.
    """
    from shroomcurate.architectures import BACKBONES
    from shroomcurate.backbone import find_weights

    if embedder not in BACKBONES:
        return True
    try:
        weights = find_weights(embedder)
    except WeightsMissing:
        if not dataset.path("embeddings.parquet").exists():
            raise
        return False
    return then is None or then == file_hash(weights)


def _options(dataset: Dataset, name: str) -> dict[str, Any]:
    """Return the options in a table's receipt, none where there is no table."""
    path = dataset.path(name)
    receipt = read_receipt(path) if path.exists() else None
    return dict(receipt.options) if receipt else {}


def _told() -> Progress:
    """Return a progress callable that tells at most four times a second."""
    last = 0.0

    def progress(done: int, total: int, label: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.25:
            last = now
            _say({"state": "running", "label": label, "done": int(done), "total": int(total)})

    return progress


def _say(event: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(event, default=str) + "\n")
    sys.stdout.flush()
