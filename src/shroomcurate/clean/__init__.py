"""Find the photos that do not belong, and move them out of the class folders. Nothing is deleted.

Reads: ``embeddings.parquet``; ``selection.parquet`` (ranks, observations) and ``verdicts.csv`` (a person's word) where
there. Writes: ``clean.parquet``, then moves photos to match it: ``images/`` <-> ``removed/<reason>/<Class>/``.
Resumes: run it again; every photo is judged anew, also the removed ones, and those that now stay come back.

The rule: DBSCAN per class says which photos lie outside it (:mod:`clusters`); the noise model weighs its marks against
what all classes and a person's verdicts say of such photos (:mod:`noise`); the evidence says why (:mod:`reasons`). Of
photos that are nearly the same one is kept, the others are a ``duplicate``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from shroomcurate.clean.judge import Judged, Suggestion, Trust, judge
from shroomcurate.clean.options import CleanOptions
from shroomcurate.clean.tables import SCHEMA, TABLE, make_judgements, read_photographs
from shroomcurate.dataset import Dataset, Receipt, file_hash, printable, read_receipt, write_table
from shroomcurate.errors import BadOption
from shroomcurate.progress import Progress, silent
from shroomcurate.summary import Summary
from shroomcurate.verdicts import digest, place_photos, read_verdicts, unfinished_line

__all__ = ["ASIDE", "SCHEMA", "TABLE", "CleanOptions", "CleanSummary", "Suggestion", "Trust", "clean"]

#: Options that do not change the judgement.
ASIDE = ("dry_run", "suggest")


@dataclass(frozen=True)
class CleanSummary(Summary):
    """What :func:`clean` decided and moved."""

    kept: int
    removed: int
    classes: dict[str, dict[str, int]]
    """Class -> ``kept`` and ``removed``."""
    reasons: dict[str, int]
    decided_by: dict[str, int]
    left_alone: dict[str, str]
    """Class whose noise was not judged -> why."""
    moved_out: int = 0
    moved_back: int = 0
    eps: dict[str, float] = field(default_factory=dict)
    """Class -> the eps that ``auto_eps`` found."""
    trust: Trust | None = None
    """How well the noise model foretells the verdicts; None without verdicts or model."""
    suggestions: list[Suggestion] = field(default_factory=list)
    conflicts: int = 0
    """Photos that went because the same one stands in another class."""
    without_photo: list[str] = field(default_factory=list)
    """Paths that ``verdicts.csv`` names and no photo has."""
    unjudged: list[str] = field(default_factory=list)
    """Photos on disk that have no embedding, because they do not decode; they stay where they are."""
    unfinished: str | None = None
    """What to say of a last line of ``verdicts.csv`` that has no end and is no verdict."""
    dry_run: bool = False


def clean(
    dataset: Dataset,
    options: CleanOptions = CleanOptions(),
    progress: Progress = silent,
    embeddings: Path | None = None,
) -> CleanSummary:
    """Judge every photo, write ``clean.parquet`` and move the files to match it.

    Parameters
    ----------
    embeddings
        The table to judge by in a dry run; None: the dataset's own.

    Raises
    ------
    StageMissing
        There are no embeddings, or no photos.
    SourceMissing
        There are no photos in a tree that somebody else made.
    BadOption
        The dataset's tables are those of another tree, or `embeddings` is given and it is no dry run.
    DamagedFile
        A line of ``verdicts.csv`` is not a verdict.
    """
    if embeddings is not None and not options.dry_run:
        raise BadOption(f"{embeddings} are not the dataset's embeddings.", "Give other embeddings to a dry run only.")
    dataset.require_photos()
    dataset.refuse_other_tree()
    with dataset.lock("clean"):
        embeddings = embeddings or dataset.require("embeddings.parquet")
        verdicts = read_verdicts(dataset)
        on_disk = dataset.photos()
        photographs = read_photographs(dataset, embeddings, on_disk.keys())
        judged = judge(photographs, verdicts, options, progress)
        out = back = 0
        if not options.dry_run:
            inputs = [name for name in ("embeddings.parquet", "selection.parquet") if dataset.path(name).exists()]
            receipt = Receipt(
                "clean",
                {key: value for key, value in asdict(options).items() if key not in ASIDE}
                | {"verdicts": digest(verdicts), "left_alone": judged.left_alone, "versions": _versions()}
                | _embedder(embeddings),
                {name: file_hash(dataset.path(name)) for name in inputs},
            )
            write_table(dataset.path(TABLE), make_judgements(judged.photos, photographs.evidence), receipt)
            out, back = place_photos(dataset, {photo.path: photo.reason for photo in judged.photos}, progress)
        summary = _summary(judged, options)
        return replace(
            summary,
            moved_out=out,
            moved_back=back,
            without_photo=[printable(path) for path in sorted(verdicts.keys() - on_disk.keys())],
            unfinished=unfinished_line(dataset),
            unjudged=[printable(path) for path in sorted(on_disk.keys() - {photo.path for photo in judged.photos})],
        )


def _versions() -> dict[str, str]:
    """Return the libraries whose arithmetic a judgement hangs on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("numpy", "scikit-learn", "scipy")}


def _embedder(embeddings: Path) -> dict[str, str]:
    """Return by what the photos were embedded, for the day on which the embeddings are gone."""
    receipt = read_receipt(embeddings)
    return {"embedder": receipt.options["embedder"]} if receipt and "embedder" in receipt.options else {}


def _summary(judged: Judged, options: CleanOptions) -> CleanSummary:
    classes: dict[str, dict[str, int]] = {}
    for photo in judged.photos:
        counts = classes.setdefault(photo.class_name, {"kept": 0, "removed": 0})
        counts["removed" if photo.reason else "kept"] += 1
    reasons = Counter(photo.reason for photo in judged.photos if photo.reason)
    return CleanSummary(
        kept=len(judged.photos) - reasons.total(),
        removed=reasons.total(),
        classes=classes,
        reasons=dict(sorted(reasons.items())),
        decided_by=dict(sorted(Counter(photo.decided_by for photo in judged.photos).items())),
        left_alone=judged.left_alone,
        eps=judged.eps if options.auto_eps else {},
        trust=judged.trust,
        suggestions=judged.suggestions,
        conflicts=sum(photo.is_conflict() for photo in judged.photos),
        dry_run=options.dry_run,
    )
