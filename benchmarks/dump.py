"""Write a dump in the layout of the iNaturalist open data, at any scale, with the proportions of the real one.

Run: ``python -m benchmarks.dump FOLDER --observations 3000000`` writes FOLDER/plain and FOLDER/gz. The same seed and
scale give the same bytes, however many threads work. Besides the shares below, the files hold what surprises readers
of the real ones: blank and unknown taxa, inactive taxa, photos in several observations, photos of no observation,
quotes in names. Nothing is damaged; that is for the tests.
"""

from __future__ import annotations

import argparse
import os
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.csv as pa_csv

HEADERS = {
    "observations": "observation_uuid observer_id latitude longitude positional_accuracy taxon_id quality_grade "
    "observed_on anomaly_score",
    "photos": "photo_uuid photo_id observation_uuid observer_id extension license width height position",
    "taxa": "taxon_id ancestry rank_level rank name active",
    "observers": "observer_id login name",
}

QUALITY = {"research": 0.62, "needs_id": 0.30, "casual": 0.08}
LICENSE = {
    "CC-BY-NC": 0.80,
    "CC-BY": 0.075,
    "CC0": 0.06,
    "CC-BY-NC-SA": 0.025,
    "CC-BY-NC-ND": 0.02,
    "CC-BY-SA": 0.012,
    "CC-BY-ND": 0.005,
    "PD": 0.003,
}
EXTENSION = {"jpg": 0.70, "jpeg": 0.273, "png": 0.01, "JPG": 0.016, "gif": 0.001}
SIZES = ((2048, 1536), (1536, 2048), (2048, 1365), (2048, 2048), (1365, 2048), (1024, 768), (800, 600), (2048, 1152))

PHOTOS_PER_OBSERVATION = 1.7
FUNGI = 0.06
"""Share of observations below Basidiomycota or Ascomycota."""
SHARED = 0.001
"""Share of photo rows that repeat a photo for another observation."""
ORPHANS = 0.0005
"""Share of photo rows whose observation is not in the dump."""
LATE = 0.01
"""Share of photos that were added to an observation long after it was made."""

#: What an observation is identified to: a species or below, a genus, something higher, nothing, a taxon that `taxa`
#: does not have.
IDENTIFIED = {"species": 0.885, "genus": 0.06, "higher": 0.04, "blank": 0.01, "unknown": 0.005}

#: Real ids, whatever the scale: what is kept per id must not look cheaper in a small dump.
LARGEST_PHOTO_ID = 600_000_000
LARGEST_OBSERVER_ID = 10_000_000

CHUNK = 100_000  # observations made at a time, by one thread


@dataclass(frozen=True)
class DumpOptions:
    """How large a dump, and which one of that size."""

    observations: int = 3_000_000
    taxa: int = 200_000
    seed: int = 1

    @property
    def observers(self) -> int:
        """One in twenty, as in the real dump."""
        return max(1, self.observations // 20)


# -- values that any thread can recompute from a row's number ------------------------------------------------------


def _mixed(stream: str, seed: int, numbers: np.ndarray) -> np.ndarray:
    """Hash row numbers to 64 random bits each (splitmix64), so that photos can name an observation of any chunk."""
    key = zlib.crc32(f"{seed} {stream}".encode())
    with np.errstate(over="ignore"):
        mixed = (numbers.astype(np.uint64) + np.uint64(key << 32)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)


def _uuids(stream: str, seed: int, numbers: np.ndarray) -> pa.Array:
    """Return the row numbers' random (version 4) UUIDs as text."""
    halves = [_mixed(f"{stream} {half}", seed, numbers) for half in (0, 1)]
    raw = np.stack(halves, axis=1).view(np.uint8).reshape(-1, 16)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = _HEX[raw].view(np.uint8).reshape(-1, 32)
    text = np.full((len(numbers), 36), ord("-"), np.uint8)
    for first, last, at in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
        text[:, at : at + last - first] = digits[:, first:last]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * 36
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def _observer_ids(options: DumpOptions, observations: np.ndarray) -> np.ndarray:
    """Return who made each observation; a few observers make most of them."""
    uniform = _mixed("observer", options.seed, observations) / np.float64(2**64)
    return _observer_id(options, (options.observers * uniform**2.5).astype(np.int64))


def _observer_id(options: DumpOptions, number: np.ndarray) -> np.ndarray:
    return 1 + number * max(1, LARGEST_OBSERVER_ID // options.observers)


# -- taxa ----------------------------------------------------------------------------------------------------------

#: Ranks below the phyla: rank, level, share of the taxa, rank of the parents.
_RANKS = (
    ("class", 50, 0.002, "phylum"),
    ("order", 40, 0.006, "class"),
    ("family", 30, 0.03, "order"),
    ("genus", 20, 0.16, "family"),
    ("species", 10, 0.74, "genus"),
    ("hybrid", 10, 0.007, "genus"),
    ("complex", 11, 0.005, "genus"),
    ("subspecies", 5, 0.035, "species"),
    ("variety", 5, 0.015, "species"),
)

#: The top of the tree: id, parent, rank level, rank, name, share of the classes below it. 471690 begins like 47169.
_TOP = (
    (48460, None, 100, "stateofmatter", "Life", 0),
    (1, 48460, 70, "kingdom", "Animalia", 0),
    (47126, 48460, 70, "kingdom", "Plantae", 0),
    (47170, 48460, 70, "kingdom", "Fungi", 0),
    (47120, 1, 60, "phylum", "Arthropoda", 0.42),
    (2, 1, 60, "phylum", "Chordata", 0.13),
    (47115, 1, 60, "phylum", "Mollusca", 0.07),
    (211194, 47126, 60, "phylum", "Tracheophyta", 0.27),
    (311249, 47126, 60, "phylum", "Bryophyta", 0.02),
    (47169, 47170, 60, "phylum", "Basidiomycota", 0.045),
    (48250, 47170, 60, "phylum", "Ascomycota", 0.04),
    (471690, 47170, 60, "phylum", "Mucoromycota", 0.005),
)
_KEPT_PHYLA = ("47169", "48250")


@dataclass
class Taxa:
    """The taxa's rows, and how often each is what an observation shows: (taxon ids, cumulated weights) by group."""

    rows: list[str] = field(default_factory=list)
    drawn: dict[tuple[str, bool], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


def make_taxa(options: DumpOptions) -> Taxa:
    """Grow the tree from its top, each rank's taxa unevenly spread over the parents."""
    rng = np.random.default_rng([options.seed, 0])
    lines: dict[int, str] = {}  # taxon id -> path of ids with itself
    by_rank: dict[str, list[int]] = {}
    groups: dict[tuple[str, bool], list[int]] = {}
    inactive: set[int] = set()
    taxa = Taxa()
    for taxon, parent, level, rank, name, _ in _TOP:
        lines[taxon] = f"{lines[parent]}/{taxon}" if parent else str(taxon)
        by_rank.setdefault(rank, []).append(taxon)
        taxa.rows.append(f"{taxon}\t{lines[parent] if parent else ''}\t{level}\t{rank}\t{name}\ttrue")
    ids = _fresh_ids(rng, options.taxa, {row[0] for row in _TOP})
    shares = np.array([row[5] for row in _TOP if row[3] == "phylum"])
    for rank, level, share, above in _RANKS:
        count = max(
            len(by_rank[above]) if rank in {"class", "order", "family", "genus"} else 1, int(options.taxa * share)
        )
        parents = by_rank[above]
        # One child each first, so that every branch reaches down to species.
        spread = rng.choice(len(parents), count, p=shares) if above == "phylum" else _uneven(rng, len(parents), count)
        spread[: min(count, len(parents))] = np.arange(min(count, len(parents)))
        for number, (parent, dead) in enumerate(zip(spread, rng.random(count) < 0.03, strict=True)):
            taxon, line = next(ids), lines[parents[parent]]
            lines[taxon] = f"{line}/{taxon}"
            by_rank.setdefault(rank, []).append(taxon)
            if dead and level <= 10:
                inactive.add(taxon)
            name = _taxon_name(rank, number, parents[parent])
            taxa.rows.append(f"{taxon}\t{line}\t{level}\t{rank}\t{name}\t{'false' if taxon in inactive else 'true'}")
            fungal = any(phylum in line.split("/") for phylum in _KEPT_PHYLA)
            groups.setdefault((_identified_to(level), fungal), []).append(taxon)
    for group, members in groups.items():
        # Abundance falls with the rank as in Zipf's law; an inactive taxon keeps few observations.
        weight = 1 / (np.arange(len(members)) + 20.0)
        weight = weight[rng.permutation(len(members))]
        weight[[taxon in inactive for taxon in members]] *= 0.2
        taxa.drawn[group] = np.array(members), np.cumsum(weight) / weight.sum()
    return taxa


def _fresh_ids(rng: np.random.Generator, count: int, taken: set[int]) -> Iterator[int]:
    drawn = rng.choice(max(1_600_000, 4 * count), 2 * count + 1000, replace=False) + 10
    return (int(taxon) for taxon in drawn if taxon not in taken)


def _uneven(rng: np.random.Generator, parents: int, count: int) -> np.ndarray:
    return (parents * rng.random(count) ** 1.5).astype(np.int64)


def _identified_to(level: int) -> str:
    if level <= 10:
        return "species"
    return "genus" if level <= 20 else "higher"


_SYLLABLES = ("ma", "ri", "to", "lu", "sen", "pha", "cor", "ti", "ne", "gal", "bo", "xi", "ra", "myc", "des", "vul")


def _taxon_name(rank: str, number: int, parent: int) -> str:
    word = "".join(_SYLLABLES[(number * 7919 + parent >> shift) % 16] for shift in (0, 4, 8, 12))
    if rank in {"class", "order", "family", "genus"}:
        return word.capitalize()
    genus = f"{_SYLLABLES[parent % 16]}{_SYLLABLES[parent // 16 % 16]}us".capitalize()
    if rank == "hybrid":
        return f"{genus} × {word}"
    return f'{genus} "{word}"' if number % 500 == 499 else f"{genus} {word}us"


# -- rows ----------------------------------------------------------------------------------------------------------


def observations(options: DumpOptions, taxa: Taxa, chunk: range) -> pa.Table:
    """Return the observations of these numbers; values as text or numbers, null for blank."""
    rng = np.random.default_rng([options.seed, 1, chunk.start])
    count, numbers = len(chunk), np.arange(chunk.start, chunk.stop)
    level = rng.choice(len(IDENTIFIED), count, p=list(IDENTIFIED.values()))
    taxon = _taxon_ids(taxa, level, rng.random(count) < FUNGI, rng.random(count))
    nowhere = rng.random(count) < 0.015
    obscured = rng.random(count) < 0.08
    accuracy = np.where(obscured, rng.integers(26_000, 30_000, count), np.exp(rng.normal(3, 1.6, count)).astype(int))
    # Observations grow over the years; a few are from long ago.
    days = 20_500 - (rng.random(count) ** 2.2 * 5_500).astype(np.int32) - (rng.random(count) < 0.01) * 7_000
    return pa.table(
        [
            _uuids("observation", options.seed, numbers),
            pa.array(_observer_ids(options, numbers)),
            _decimals(rng.normal(0.6, 0.35, count).clip(-1.5, 1.5) * 180 / np.pi, 10, nowhere),
            _decimals(rng.random(count) * 360 - 180, 10, nowhere),
            pa.array(accuracy, mask=nowhere | (rng.random(count) < 0.22)),
            pa.array(taxon, mask=level == list(IDENTIFIED).index("blank")),
            _quality(rng, level),
            pa.array(days.astype(np.int32), mask=rng.random(count) < 0.01).cast(pa.date32()),
            _decimals(rng.gamma(4, 0.4, count), 6, rng.random(count) < 0.65),
        ],
        names=HEADERS["observations"].split(),
    )


def _taxon_ids(taxa: Taxa, level: np.ndarray, fungal: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    drawn = np.zeros(len(level), np.int64)
    for (identified, below), (ids, cumulated) in taxa.drawn.items():
        here = (level == list(IDENTIFIED).index(identified)) & (fungal == below)
        drawn[here] = ids[np.searchsorted(cumulated, uniform[here]).clip(max=len(ids) - 1)]
    unknown = level == list(IDENTIFIED).index("unknown")
    drawn[unknown] = 50_000_000 + (uniform[unknown] * 400_000).astype(np.int64)
    return drawn


def _quality(rng: np.random.Generator, level: np.ndarray) -> pa.Array:
    # Only what is identified to species is research grade here, so that the shares of all come out.
    of_species = QUALITY["research"] / IDENTIFIED["species"]
    research = (level == 0) & (rng.random(len(level)) < of_species)
    casual = rng.random(len(level)) < QUALITY["casual"] / (1 - QUALITY["research"])
    return _words(list(QUALITY), np.where(research, 0, np.where(casual, 2, 1)))


def photos(options: DumpOptions, chunk: range) -> pa.Table:
    """Return the photos of the observations of these numbers, about in the order of their ids."""
    rng = np.random.default_rng([options.seed, 2, chunk.start])
    each = rng.geometric(1 / PHOTOS_PER_OBSERVATION, len(chunk)).clip(max=30)
    observation = np.repeat(np.arange(chunk.start, chunk.stop), each)
    count = len(observation)
    position = np.arange(count) - np.repeat(np.cumsum(each) - each, each)
    position += np.repeat(rng.random(len(chunk)) < 0.03, each)  # the first one has no open licence
    license_ = np.repeat(rng.choice(len(LICENSE), len(chunk), p=list(LICENSE.values())), each)
    late = rng.random(count) < LATE
    observation[late] = rng.integers(0, chunk.stop, late.sum())
    step = LARGEST_PHOTO_ID * len(chunk) / options.observations / count
    ids = 1000 + int(LARGEST_PHOTO_ID * (chunk.start / options.observations))
    photo = ids + (np.arange(count) * step).astype(np.int64) + rng.integers(0, max(1, int(step)), count)
    observer = _observer_ids(options, observation)
    size = np.array(SIZES)[rng.choice(len(SIZES), count, p=(0.36, 0.26, 0.1, 0.06, 0.06, 0.05, 0.05, 0.06))]
    extension = rng.choice(len(EXTENSION), count, p=list(EXTENSION.values()))
    observation[rng.random(count) < ORPHANS] += options.observations
    again = rng.integers(0, count, rng.binomial(count, SHARED))
    row = np.concatenate([np.arange(count), again])
    observation = np.concatenate([observation, rng.integers(0, chunk.stop, len(again))])
    order = np.argsort(row + rng.normal(0, 40, len(row)))
    row, observation = row[order], observation[order]
    return pa.table(
        [
            _uuids("photo", options.seed, photo[row]),
            pa.array(photo[row]),
            _uuids("observation", options.seed, observation),
            pa.array(observer[row]),
            _words(list(EXTENSION), extension[row]),
            _words(list(LICENSE), license_[row]),
            pa.array(size[row, 0]),
            pa.array(size[row, 1]),
            pa.array(position[row]),
        ],
        names=HEADERS["photos"].split(),
    )


_NAMES = ("", "", "", "Ann Observer", "Li Wei", "Łukasz Grzyb", 'J. "Shroom" Doe', "M. de la Peña", "O'Neil", "None")


def _observer_rows(options: DumpOptions) -> Iterator[str]:
    for number, observer in enumerate(_observer_id(options, np.arange(options.observers)).tolist()):
        yield f"{observer}\tobserver{number}\t{_NAMES[number * 7 % len(_NAMES)]}"


def _words(words: list[str], index: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int8()), words).cast(pa.string())


def _decimals(values: np.ndarray, digits: int, blank: np.ndarray) -> pa.Array:
    """Return numbers as text with a fixed number of digits after the point."""
    scaled = np.round(values * 10**digits).astype(np.int64)
    words = pa.py_buffer(np.stack([scaled, scaled >> 63], axis=1))  # 128 bits, little-endian
    exact = pa.Array.from_buffers(pa.decimal128(18, digits), len(values), [None, words])
    return pa_compute.if_else(pa.array(blank), pa.scalar(None, pa.string()), exact.cast(pa.string()))


# -- files ---------------------------------------------------------------------------------------------------------


def write_dump(options: DumpOptions, plain: Path | None, packed: Path | None) -> dict[str, int]:
    """Write the four tables as ``.csv`` into ``plain``, as ``.csv.gz`` into ``packed``; return plain bytes by table."""
    taxa = make_taxa(options)
    chunks = [range(first, min(first + CHUNK, options.observations)) for first in range(0, options.observations, CHUNK)]
    parts: dict[str, Iterable[Callable[[], bytes]]] = {
        "taxa": [lambda: _lines(taxa.rows)],
        "observers": [lambda: _lines(_observer_rows(options))],
        "observations": (lambda chunk=chunk: _csv(observations(options, taxa, chunk)) for chunk in chunks),  # type: ignore[misc]
        "photos": (lambda chunk=chunk: _csv(photos(options, chunk)) for chunk in chunks),  # type: ignore[misc]
    }
    for folder in (plain, packed):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
    return {table: _write_table(table, makers, plain, packed) for table, makers in parts.items()}


def _lines(rows: Iterable[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def _csv(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(rows, sink, pa_csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"))
    return sink.getvalue().to_pybytes()


def _write_table(table: str, makers: Iterable[Callable[[], bytes]], plain: Path | None, packed: Path | None) -> int:
    header = HEADERS[table].replace(" ", "\t").encode() + b"\n"
    with ExitStack() as stack:
        plain_file = stack.enter_context((plain / f"{table}.csv").open("wb")) if plain else None
        gzip_file = _Gzip(stack.enter_context((packed / f"{table}.csv.gz").open("wb"))) if packed else None
        size = 0
        for content, deflated in _made(header, makers, deflate=packed is not None):
            size += len(content)
            if plain_file:
                plain_file.write(content)
            if gzip_file:
                gzip_file.add(content, deflated)
        if gzip_file:
            gzip_file.finish()
    return size


def _made(header: bytes, makers: Iterable[Callable[[], bytes]], *, deflate: bool) -> Iterator[tuple[bytes, bytes]]:
    """Make and deflate the parts with a thread a core, in order, a few ahead."""

    def make(maker: Callable[[], bytes]) -> tuple[bytes, bytes]:
        content = maker()
        if not deflate:
            return content, b""
        deflater = zlib.compressobj(6, wbits=-15)
        return content, deflater.compress(content) + deflater.flush(zlib.Z_SYNC_FLUSH)

    threads = os.cpu_count() or 1
    waiting = iter([lambda: header, *islice(makers := iter(makers), threads)])
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[tuple[bytes, bytes]]] = deque(pool.submit(make, maker) for maker in waiting)
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(make, maker) for maker in islice(makers, 1))


class _Gzip:
    """One gzip member out of parts that threads deflated, as pigz writes it and any reader takes it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._crc, self._size = file, 0, 0
        file.write(b"\x1f\x8b\x08\0\0\0\0\0\0\x03")

    def add(self, content: bytes, deflated: bytes) -> None:
        self._crc, self._size = zlib.crc32(content, self._crc), self._size + len(content)
        self._file.write(deflated)

    def finish(self) -> None:
        self._file.write(b"\x03\0" + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))


def main() -> None:
    """Write the dump that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--observations", type=int, default=DumpOptions.observations)
    parser.add_argument("--taxa", type=int, default=DumpOptions.taxa)
    parser.add_argument("--seed", type=int, default=DumpOptions.seed)
    chosen = parser.parse_args()
    started = time.monotonic()
    options = DumpOptions(chosen.observations, chosen.taxa, chosen.seed)
    sizes = write_dump(options, chosen.folder / "plain", chosen.folder / "gz")
    for table, size in sizes.items():
        packed = (chosen.folder / "gz" / f"{table}.csv.gz").stat().st_size
        print(f"{table:13}{size / 1e6:8.1f} MB plain {packed / 1e6:8.1f} MB gzip")
    print(f"in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
