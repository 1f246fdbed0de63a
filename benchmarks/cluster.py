"""``--engine ray`` against this machine without it: what Ray costs, which is all that one machine can tell.

Run: ``python -m benchmarks.cluster [--photos 2000] [--embedder classic] [--turns 3]``. Photos of 40 kB from a server on
loopback; the cluster is one of this machine, with as many processors as it has. Both ways share them, so the ratio says
what part of a machine's speed is left when Ray carries the work, not how much faster a cluster is: it pays when its
nodes bring more than that loses.

Two figures each: with the start of the cluster, as somebody sees it who types the command; and without it, from the
difference between a run of all photos and one of a few.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.download import NOISE, Photos, write_lists
from benchmarks.photo_server import NAMES, make_photos, nginx_program, serving
from shroomcurate.dataset import Dataset
from shroomcurate.download import DownloadOptions, download
from shroomcurate.embed import EmbedOptions, embed

FEW = 350  # photos: more than this machine looks at without processes of its own, so that both ways start theirs
HERE, RAY = "this machine", "ray"
ENGINES = {HERE: None, RAY: "local"}


def download_seconds(folder: Path, url: str, photos: int, engine: str | None) -> float:
    """Return what it takes to fetch so many photos into a new dataset."""
    lists = Photos(folder, photos)
    write_lists(lists, url)
    dataset = Dataset(folder / "dataset")
    dataset.root.mkdir()
    lists.selection.replace(dataset.path("selection.parquet"))
    started = time.perf_counter()
    fetched = download(dataset, DownloadOptions(url, ray=engine)).fetched
    seconds = time.perf_counter() - started
    if fetched != photos:
        raise SystemExit(f"{fetched} of {photos} photos came")
    return seconds


def embed_seconds(folder: Path, files: list[Path], embedder: str, engine: str | None) -> float:
    """Return what it takes to describe photos that have not been seen before."""
    target = folder / "pictures" / "Genus_species"
    target.mkdir(parents=True)
    for number, file in enumerate(files):
        shutil.copyfile(file, target / f"{number}.jpg")
    started = time.perf_counter()
    embed(Dataset(images=folder / "pictures"), EmbedOptions(embedder, ray=engine))
    return time.perf_counter() - started


def measure(name: str, seconds: Callable[[Path, int, str | None], float], photos: int, turns: int) -> None:
    """Print both ways' medians, taken in turns, and their ratio."""
    taken: dict[tuple[str, int], list[float]] = {(way, count): [] for way in ENGINES for count in (FEW, photos)}
    for _ in range(turns):
        for (way, count), list_of in taken.items():
            with tempfile.TemporaryDirectory() as folder:
                list_of.append(seconds(Path(folder), count, ENGINES[way]))
    median = {key: statistics.median(list_of) for key, list_of in taken.items()}
    each = {way: max(1e-9, median[way, photos] - median[way, FEW]) / (photos - FEW) for way in ENGINES}
    print(f"\n{name}: {photos} photos, medians of {turns} turns\n")
    print(f"| engine | s | s for the first {FEW} | photos/s after them |\n|---|---|---|---|")
    for way in ENGINES:
        print(f"| {way} | {median[way, photos]:.1f} | {median[way, FEW]:.1f} | {1 / each[way]:,.0f} |")
    all_in = median[HERE, photos] / median[RAY, photos]
    print(f"\nratio, ray / this machine: {each[HERE] / each[RAY]:.2f} once started, {all_in:.2f} all in")


def main() -> None:
    """Measure both commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--embedder", default="classic")
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_photos(folder / "photos", NOISE)
        files = sorted((folder / "photos").iterdir())
        with serving(folder, nginx_program()) as url:
            measure(
                "download",
                lambda place, count, engine: download_seconds(place, url, count, engine),
                chosen.photos,
                chosen.turns,
            )
        measure(
            f"embeddings, {chosen.embedder}",
            lambda place, count, engine: embed_seconds(
                place, [files[number % NAMES] for number in range(count)], chosen.embedder, engine
            ),
            chosen.photos,
            chosen.turns,
        )


if __name__ == "__main__":
    main()
