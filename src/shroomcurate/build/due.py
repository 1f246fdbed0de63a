"""What has to run, and why: of each stage whether its files were made from what is there, and as the recipe says.

The first is what `status` tells; the second stands in the receipts. Both are read from the disk, so a build that was
killed goes on where an undisturbed one would be.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from shroomcurate import __version__
from shroomcurate.build.recipe import Recipe
from shroomcurate.catalogue.note import read_note
from shroomcurate.catalogue.request import why_load
from shroomcurate.clean import ASIDE
from shroomcurate.errors import DamagedFile, SourceMissing, WeightsMissing
from shroomcurate.select import asked
from shroomcurate.status import stages
from shroomcurate.status.answer import StageStatus
from shroomcurate.status.look import Look


@dataclass(frozen=True, order=True)
class Standing:
    """How near a dataset is to N photos of each class: the fewer of each the better, and of two equals the first."""

    missing: int
    surplus: int
    digest: str
    """Of all photos on disk, and of which are removed for what."""


def load_due(look: Look, recipe: Recipe) -> str | None:
    """Return why the catalogue has to be loaded; None when it need not be."""
    if recipe.load is None:
        return None
    why = why_load(recipe.load, recipe.database_url)
    unknown_here = read_note(recipe.database_url) is None
    if why and unknown_here and look.has("selection.parquet") and query_due(look, recipe) is None:
        return None  # a dataset that came from another machine needs no catalogue
    return why


def query_due(look: Look, recipe: Recipe) -> str | None:
    """Return why photos have to be selected."""
    receipt = look.receipt("selection.parquet") if look.has("selection.parquet") else None
    if receipt is None:
        return "it has not run yet"
    if "lock" in receipt.options:
        return "it was taken from a lock"
    now = json.loads(json.dumps(asked(recipe.query), default=str))
    if why := _changed(receipt.options.get("asked") or {}, now):
        return why
    note = read_note(recipe.database_url)
    if note is not None and note.fingerprint != receipt.options.get("catalogue"):
        return "the catalogue is another one"
    return _not_current(stages.query(look))


def download_due(look: Look, recipe: Recipe) -> str | None:
    """Return why photos have to be fetched, apart from places that cleaning has left."""
    receipt = look.receipt("downloads.parquet") if look.has("downloads.parquet") else None
    if receipt is not None and (why := _changed(receipt.options, {"size": recipe.download.size})):
        return why
    return _not_current(stages.download(look))


def clean_due(look: Look, recipe: Recipe) -> str | None:
    """Return why photos have to be judged."""
    found = stages.clean(look)
    if found.state == "missing":
        return "it has not run yet"
    receipt = look.receipt("clean.parquet") if look.has("clean.parquet") else None
    if receipt is not None:
        now = {name: value for name, value in asdict(recipe.clean).items() if name not in ASIDE}
        now["embedder"] = recipe.embed.embedder
        if why := _changed(receipt.options, now) or _other_weights(look, recipe):
            return why
    return _not_current(found)


def places_due(look: Look) -> str | None:
    """Return why `download` has to fill up, or set aside, after `clean`; None when each class has what it can have."""
    if places := stages.fillable(look):
        return f"the reserve can fill {places:,} place{'' if places == 1 else 's'}"
    if surplus := standing(look).surplus:
        return f"photos more than asked for, since some came back: {surplus:,}"
    return None


def train_due(look: Look, recipe: Recipe) -> str | None:
    """Return why to train; with several networks all are asked, and those that are done are found done."""
    from shroomcurate.runs import latest_run
    from shroomcurate.training import planned_run

    if why := _not_current(stages.train(look)):
        return why
    receipt = look.receipt("splits.parquet")
    if why := _changed(receipt.options if receipt else {}, asdict(recipe.split)):
        return why
    runs = look.dataset.path("runs")
    for options in recipe.train:
        if not (runs / planned_run(look.dataset, options)).is_dir():
            return "there is no run with these options"
    latest = latest_run(look.dataset)
    if recipe.train and latest and latest.name != planned_run(look.dataset, recipe.train[-1]):
        return "the latest run is one with other options"  # which report and predict would take
    return None


def report_due(look: Look, recipe: Recipe) -> str | None:
    """Return why the report has to be written."""
    if why := _not_current(stages.report(look)):
        return why
    receipt = look.receipt_of_page()
    return _changed(receipt.get("options") or {}, asdict(recipe.report) if recipe.report else {})


def export_due(look: Look, recipe: Recipe) -> str | None:
    """Return why the export has to be written: by its options, the receipts its manifest holds, and its files' sizes.

    `verify` compares hashes, for which it reads all photos.

    Raises
    ------
    DamagedFile
        Its manifest cannot be read, so nobody can tell whose files lie there.
    """
    from shroomcurate.export import ExportOptions, default_folder
    from shroomcurate.export.manifest import read_manifest

    options = recipe.export or ExportOptions()
    folder = recipe.out or default_folder(look.dataset, options)
    try:
        manifest = read_manifest(folder)
    except SourceMissing:
        return "it has not run yet"
    except DamagedFile as error:
        raise DamagedFile(error.what, f"Move {folder} away, and type: shroomcurate build") from error
    about = manifest.about
    if why := _changed(about.get("options", {}), options.made_with()):
        return why
    for name, then in about.get("receipts", {}).items():
        receipt = look.receipt(name) if look.has(name) else None
        if receipt is None or json.loads(receipt.to_json()) != then:
            return f"{name} is another one"
    if about.get("version") != __version__:
        return "another version wrote it"
    for path, (size, _) in manifest.files.items():
        file = folder / path
        if not file.is_file() or file.stat().st_size != size:
            return f"{path} in it is {'another one' if file.is_file() else 'gone'}"
    return None


def standing(look: Look) -> Standing:
    """Return how near the dataset is to its aim."""
    wanted: Counter[str] = Counter()
    for (name, role), photos in look.selected.items():
        wanted[name] += photos * (role == "wanted")
    kept: Counter[str] = Counter()
    digest = hashlib.sha256()
    for path, reason in sorted(look.photos.items()):
        kept[path.split("/")[1]] += reason is None
        digest.update(f"{path}\0{reason}\n".encode(errors="surrogateescape"))
    beyond = {name: kept[name] - wanted[name] for name in wanted}
    missing = -sum(photos for photos in beyond.values() if photos < 0)
    return Standing(missing, sum(photos for photos in beyond.values() if photos > 0), digest.hexdigest())


def _not_current(found: StageStatus) -> str | None:
    if found.state == "missing":
        return "it has not run yet"
    return None if found.state in {"current", "not needed"} else found.details[0]


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say which option is another one now, the first of them with its values."""
    missing = object()
    found = [name for name, value in now.items() if then.get(name, missing) != value]
    if not found:
        return None
    before = then.get(found[0], missing)
    words = found[0].replace("_", "-")
    short = isinstance(before, int | float | str | None) and len(str(before)) < 30 and len(str(now[found[0]])) < 30
    told = f"{words} was {_word(before)}, is {_word(now[found[0]])}" if short else f"{words} has changed"
    return told + (f", and {len(found) - 1} more" if len(found) > 1 else "")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "left away" if value is None else str(value)


def _other_weights(look: Look, recipe: Recipe) -> str | None:
    """Say when the weights are others than those the photos were described by; those that are not here say nothing."""
    from shroomcurate.architectures import BACKBONES
    from shroomcurate.backbone import weights_here
    from shroomcurate.dataset import file_hash

    if recipe.embed.embedder not in BACKBONES or not look.has("embeddings.parquet"):
        return None
    receipt = look.receipt("embeddings.parquet")
    with suppress(WeightsMissing, OSError):
        weights = weights_here(recipe.embed.embedder, recipe.embed.weights)
        if weights and receipt and receipt.options.get("weights") not in (None, file_hash(weights)):
            return "the weights are others"
    return None
