"""Class folders with planted pictures, made of inat-mini, and judged as ``clean --images DIR`` judges them.

All photos are embedded once, by ``embed``, as one tree. A plan says which of them stand in which class; its folder
holds links to them and an ``embeddings.parquet`` with their rows, of which ``embed`` takes over what is unchanged, as
after any move of photos. A change of the embedder's table therefore needs no change here.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.clean import CleanOptions, CleanSummary, clean
from shroomcurate.dataset import Dataset, read_receipt, read_table, write_table
from shroomcurate.embed import EmbedOptions, embed
from shroomcurate.vectors import read_vectors, unit_length

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

OK = "ok"
KINDS = ("microscopy", "scenery", "hand", "drawing", "screenshot")
MISLABEL = "mislabel"
"""Kind of a photo of another species; `truth.csv` has no such."""
BIG = 4
"""Species with hundreds of photos; the others have about five."""
HALVES = ("first", "second", "all")


class Picture(NamedTuple):
    """A photo of inat-mini that is served whole."""

    photo_id: int
    species: str
    kind: str
    file: Path


Plan = Mapping[str, Sequence[Picture]]
"""Class -> what stands in its folder."""


@dataclass(frozen=True)
class Material:
    """What the plans of one half are made of. No photo is in both halves, neither good nor planted."""

    big: dict[str, list[Picture]]
    """Big species -> its photos, planted ones among them."""
    small: dict[str, list[Picture]]
    """The same of the other species."""
    noise: list[Picture]
    """Planted pictures to draw from, whatever folder they were planted in."""

    @property
    def good(self) -> dict[str, list[Picture]]:
        """Big species -> its photos that are not planted."""
        return {name: [each for each in pictures if each.kind == OK] for name, pictures in self.big.items()}

    @property
    def others(self) -> list[Picture]:
        """Good photos of the other species, as mislabels."""
        return [
            each._replace(kind=MISLABEL) for pictures in self.small.values() for each in pictures if each.kind == OK
        ]


def read_pictures(mini: Path) -> list[Picture]:
    """Return the photos of inat-mini that are served whole, by id."""
    with (mini / "truth.csv").open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["state"] == "served"]
    found = []
    for row in rows:
        file = next((mini / "photos" / row["photo_id"]).glob("medium.*"))
        found.append(Picture(int(row["photo_id"]), row["species"].replace(" ", "_"), row["kind"], file))
    return sorted(found)


def material(pictures: Sequence[Picture], half: str) -> Material:
    """Return one half of inat-mini, or all of it.

    The first half is the first two of the four big species by name, every other one of the small species, and every
    other planted picture of each kind, by id; the second half is the rest.
    """
    by_species: dict[str, list[Picture]] = defaultdict(list)
    by_kind: dict[str, list[Picture]] = defaultdict(list)
    for each in pictures:
        by_species[each.species].append(each)
        if each.kind != OK:
            by_kind[each.kind].append(each)
    big = sorted(sorted(by_species, key=lambda name: (-len(by_species[name]), name))[:BIG])
    small = sorted(by_species.keys() - set(big))
    part = {"first": slice(0, None, 2), "second": slice(1, None, 2), "all": slice(None)}[half]
    own = {"first": big[: BIG // 2], "second": big[BIG // 2 :], "all": big}[half]
    return Material(
        big={name: by_species[name] for name in own},
        small={name: by_species[name] for name in small[part]},
        noise=[each for kind in sorted(by_kind) for each in by_kind[kind][part]],
    )


# -- plans ---------------------------------------------------------------------------------------------------------


def plant(good: Mapping[str, Sequence[Picture]], noise: Sequence[Picture], share: float, seed: object) -> Plan:
    """Return classes of which this share is noise, drawn by the seed.

    No picture is planted twice, since it would be a duplicate. Where the noise is too little for all the good photos,
    fewer of these stand in each class, drawn too.
    """
    pool = _shuffled(noise, f"{seed}:noise")
    wanted = share / (1 - share) * sum(map(len, good.values()))
    part = min(1.0, len(pool) / wanted) if wanted else 1.0
    drawn = iter(pool)
    plan = {}
    for name, pictures in sorted(good.items()):
        kept = _shuffled(pictures, f"{seed}:{name}")[: int(part * len(pictures))] if part < 1 else list(pictures)
        plan[name] = [*kept, *islice(drawn, round(share / (1 - share) * len(kept)))]
    return plan


def draw(good: Mapping[str, Sequence[Picture]], count: int, seed: object) -> dict[str, list[Picture]]:
    """Return this many photos of each class."""
    return {name: _shuffled(pictures, f"{seed}:{name}")[:count] for name, pictures in good.items()}


def _shuffled(pictures: Sequence[Picture], seed: str) -> list[Picture]:
    return random.Random(seed).sample(sorted(pictures), len(pictures))


# -- judging -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """What cleaning said of the photos of a plan; one row each, sorted by path."""

    paths: list[str]
    kinds: NDArray[np.str_]
    """What `truth.csv` says that each shows."""
    classes: NDArray[np.str_]
    reasons: NDArray[np.str_]
    """Why each was removed; empty while it is kept."""
    scores: NDArray[np.float64]
    vectors: NDArray[np.float32]
    """Embeddings of length one, ``(photos, features)``."""
    summary: CleanSummary

    @cached_property
    def noise(self) -> NDArray[np.bool_]:
        """Whether each is not good."""
        return self.kinds != OK

    @cached_property
    def removed(self) -> NDArray[np.bool_]:
        """Whether each was removed."""
        return self.reasons != ""

    @cached_property
    def counted(self) -> NDArray[np.bool_]:
        """Whether each counts: a good photo that was removed as a duplicate is neither right nor wrong."""
        return self.noise | (self.reasons != "duplicate")


class Collection:
    """All photos of inat-mini, embedded; makes the folders of plans.

    Parameters
    ----------
    folder
        Where it works; photos that were embedded there before are not embedded again.
    """

    def __init__(self, pictures: Sequence[Picture], folder: Path, options: EmbedOptions) -> None:
        self.folder, self.options = folder, options
        whole = Dataset(images=folder / "whole" / "images")
        self.files = {each.photo_id: whole.images / each.species / _name(each) for each in pictures}
        for each in pictures:
            target = self.files[each.photo_id]
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copyfile(each.file, target)  # no link: what is moved about here is not the original
        embed(whole, options)
        table = whole.path("embeddings.parquet")
        self.table, self.receipt = read_table(table), read_receipt(table)
        self.row = {int(Path(path).stem): row for row, path in enumerate(self.table["path"].to_pylist())}

    def build(self, plan: Plan, name: str) -> Dataset:
        """Return class folders of a plan, with their embeddings; whatever was in that folder before is removed."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        dataset = Dataset(images=self.folder / name / "images")
        rows = {}
        for class_name, pictures in plan.items():
            (dataset.images / class_name).mkdir(parents=True)
            for each in pictures:
                os.link(self.files[each.photo_id], dataset.images / class_name / _name(each))
                rows[f"images/{class_name}/{_name(each)}"] = self.row[each.photo_id]
        if self.receipt is not None:
            write_table(dataset.path("embeddings.parquet"), self._part(dict(sorted(rows.items()))), self.receipt)
        return dataset

    def _part(self, rows: Mapping[str, int]) -> pa.Table:
        import pyarrow as pa

        part = self.table.take(list(rows.values()))
        return part.set_column(part.schema.get_field_index("path"), "path", pa.array(list(rows), pa.string()))

    def judge(self, plan: Plan, dataset: Dataset, options: CleanOptions) -> Judged:
        """Embed and clean class folders, and read what ``clean.parquet`` says."""
        import numpy as np

        embed(dataset, self.options)
        summary = clean(dataset, options)
        rows = read_table(dataset.path("clean.parquet")).to_pydict()
        kinds = {f"images/{name}/{_name(each)}": each.kind for name, pictures in plan.items() for each in pictures}
        embedded = read_table(dataset.path("embeddings.parquet"), ["path"])["path"].to_pylist()
        place = {path: row for row, path in enumerate(embedded)}
        vectors = read_vectors(dataset.path("embeddings.parquet"))[[place[path] for path in rows["path"]]]
        return Judged(
            paths=rows["path"],
            kinds=np.array([kinds[path] for path in rows["path"]], str),
            classes=np.array(rows["class"], str),
            reasons=np.array(
                ["" if kept else why for kept, why in zip(rows["kept"], rows["reason"], strict=True)], str
            ),
            scores=np.array(rows["score"], np.float64),
            vectors=unit_length(vectors),
            summary=summary,
        )


def _name(picture: Picture) -> str:
    return f"{picture.photo_id}{picture.file.suffix}"


def options_from(words: Sequence[str]) -> CleanOptions:
    """Return cleaning's options, changed by words such as ``eps=0.28``."""
    given: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        kind = type(getattr(CleanOptions(), name))
        given[name] = value == "True" if kind is bool else kind(value)
    return replace(CleanOptions(), **given)
