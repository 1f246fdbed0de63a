"""How a stage is run again as it was run before: the options that its receipts tell, as words of the command line.

Typed without them, a cleaning with another ``--eps`` would be judged anew, and one without weights would ask for some.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from shroomcurate.errors import DamagedFile
from shroomcurate.status.look import Look


class Told(NamedTuple):
    """An option that a receipt tells: its name there, its name on the command line, its default."""

    name: str
    option: str
    default: Any


#: Table -> what its receipt tells; of a run it is the table of predictions, of a page the page.
TOLD: Mapping[str, tuple[Told, ...]] = {
    "selection.parquet": (
        Told("species", "--species", 445),
        Told("per_class", "--per-class", 500),
        Told("reserve", "--reserve", None),
        Told("rank", "--rank", "species"),
        Told("licenses", "--licenses", None),
        Told("since", "--since", None),
        Told("until", "--until", None),
        Told("quality", "--quality", "research"),
        Told("min_per_class", "--min-per-class", 1),
        Told("max_per_observation", "--max-per-observation", None),
        Told("max_per_observer", "--max-per-observer", None),
        Told("seed", "--seed", 0),
    ),
    "downloads.parquet": (Told("size", "--size", "medium"),),
    "embeddings.parquet": (Told("embedder", "--embedder", "mobilenet_v3_small"),),
    "clean.parquet": (
        Told("eps", "--eps", 0.3),
        Told("min_samples", "--min-samples", 10),
        Told("min_share", "--min-share", 0.2),
        Told("max_share", "--max-share", 0.5),
        Told("auto_eps", "--auto-eps", False),
        Told("learn", "--no-learn", True),
    ),
    "predictions.parquet": (
        Told("mode", "--mode", "finetune"),
        Told("architecture", "--architecture", "mobilenet_v3_small"),
        Told("raw_vs_clean", "--raw-vs-clean", "probe"),
        Told("learning_curve", "--learning-curve", "probe"),
        Told("cross_validate", "--cross-validate", "probe"),
        Told("seeds", "--seeds", 5),
        Told("head_epochs", "--head-epochs", 20),
        Told("block_epochs", "--block-epochs", 10),
        Told("deep_epochs", "--deep-epochs", 5),
        Told("scratch_epochs", "--scratch-epochs", 60),
        Told("batch_size", "--batch-size", 32),
        Told("augmentation", "--augmentation", 1.0),
        Told("resize", "--resize", "crop"),
        Told("balance", "--balance", "weights"),
        Told("search", "--search", 0),
        Told("phone", "--phone", "quick"),
        Told("track", "--track", ()),
        Told("seed", "--seed", 0),
    ),
    "splits.parquet": (Told("same_day", "--same-day", False), Told("folds", "--folds", 5)),
    "report.html": (Told("note", "--note", None),),
}

_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
#: Who takes photos under any licence has chosen none.
_ALL_LICENCES = 8


def options_of(look: Look, stage: str) -> str:
    """Return the options with which a stage was run before, as far as its receipts can be read; '' where by default."""
    return "".join(f" {shlex.quote(word)}" for word in _words(look, stage))


def _words(look: Look, stage: str) -> Iterator[str]:
    if stage == "query":
        yield from _query(_receipt(look, "selection.parquet"))
    elif stage == "download":
        yield from _typed("downloads.parquet", _receipt(look, "downloads.parquet"))
    elif stage == "clean":
        yield from _typed("embeddings.parquet", _embedded(look))
        judged = _receipt(look, "clean.parquet")
        left_away = {"eps"} if judged.get("auto_eps") else set()  # one of them is found, so none can be given
        yield from _typed("clean.parquet", {name: judged[name] for name in judged.keys() - left_away})
    elif stage == "train-baseline":
        from shroomcurate.runs import latest_run, waiting_run

        left, run = waiting_run(look.dataset), latest_run(look.dataset)
        if last := left or run:
            own = f"runs/{last.name}/splits.parquet"  # an attempt that left nothing else may have made another since
            yield from _split(_receipt(look, own if look.has(own) else "splits.parquet"))
        else:
            yield from _split(_receipt(look, "splits.parquet"))
        if left:
            yield from _typed("predictions.parquet", _config(left))
        elif run:
            yield from _typed("predictions.parquet", _receipt(look, f"runs/{run.name}/predictions.parquet"))
        else:
            yield from _typed("predictions.parquet", {"seed": _receipt(look, "splits.parquet").get("seed", 0)})
            if _embedded(look).get("embedder") == "classic":
                yield from ("--mode", "probe")  # who has embedded without weights has none to fine-tune
    elif stage == "report":
        with suppress(OSError, ValueError):
            yield from _typed("report.html", look.receipt_of_page().get("options") or {})


def _embedded(look: Look) -> Mapping[str, Any]:
    """Return how the photos were embedded; where the embeddings are lost, the cleaning by them knows it."""
    return _receipt(look, "embeddings.parquet") or _receipt(look, "clean.parquet")


def _receipt(look: Look, name: str) -> Mapping[str, Any]:
    with suppress(DamagedFile, OSError):
        receipt = look.receipt(name) if look.has(name) else None
        return receipt.options if receipt else {}
    return {}


def _config(run: Path) -> Mapping[str, Any]:
    """Return the options of a training that was broken off."""
    from shroomcurate.runs import CONFIG

    with suppress(OSError, ValueError, KeyError, TypeError):
        return dict(json.loads((run / CONFIG).read_bytes())["options"])
    return {}


def _typed(name: str, options: Mapping[str, Any]) -> Iterator[str]:
    for told in TOLD[name]:
        value = options.get(told.name, told.default)
        if isinstance(value, list | tuple):
            value = ",".join(map(str, value)) or None
        if value is None or str(value) == str(told.default):
            continue
        yield from (told.option,) if isinstance(value, bool) else (told.option, str(value))


def _split(options: Mapping[str, Any]) -> Iterator[str]:
    shares = [float(options.get(name, share)) for name, share in _SHARES.items()]
    if shares != list(_SHARES.values()):
        yield from ("--split", "/".join(map(repr, shares)))  # whole: a rounded one is another split
    yield from _typed("splits.parquet", options)


def _query(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options of a selection. Files of names and earlier datasets are not told, for nobody knows where."""
    licences, reserve = options.get("licenses") or (), options.get("reserve")
    told = {
        **options,
        "licenses": ",".join(licences) if 0 < len(licences) < _ALL_LICENCES else None,
        "reserve": None if reserve == options.get("per_class", 0) // 2 else reserve,
    }
    yield from _typed("selection.parquet", {name: value for name, value in told.items() if value is not None})
    for taxon in options.get("taxa") or ():
        yield from ("--taxon", str(taxon))
    box = [options.get(name) for name in ("west", "south", "east", "north")]
    if None not in box:
        yield f"--region={','.join(map(str, box))}"
