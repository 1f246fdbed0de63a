"""``--engine ray`` against this machine without it: what Ray costs, which is all that one machine can tell.

Run: ``python -m benchmarks.cluster [--photos 2000] [--embedder classic] [--turns 3]``. Photos of 40 kB from a server on
loopback; the cluster is one of this machine, with as many processors as it has. Both ways share them, so the ratio says
what part of a machine's speed is left when Ray carries the work, not how much faster a cluster is: it pays when its
nodes bring more than that loses.

The cluster is started once, and each way has a turn of few photos before those that count, so that what starts is not
counted; what it takes is printed by itself.
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
from shroomcurate.ray_cluster import LOCAL, open_cluster

FEW = 350  # photos before the turns that count: more than this machine looks at without processes of its own
HERE, RAY = "this machine", "ray"
ENGINES = {HERE: None, RAY: LOCAL}


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
    taken: dict[str, list[float]] = {way: [] for way in ENGINES}
    for turn in range(turns + 1):
        for way, list_of in taken.items():
            with tempfile.TemporaryDirectory() as folder:
                took = seconds(Path(folder), photos if turn else FEW, ENGINES[way])
            if turn:
                list_of.append(took)
    median = {way: statistics.median(list_of) for way, list_of in taken.items()}
    print(f"\n{name}: {photos} photos, medians of {turns} turns\n\n| engine | s | photos/s |\n|---|---|---|")
    for way in ENGINES:
        print(f"| {way} | {median[way]:.1f} | {photos / median[way]:,.0f} |")
    print(f"\nratio, ray / this machine: {median[HERE] / median[RAY]:.2f}")


def main() -> None:
    """Measure both commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--embedder", default="classic")
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    started = time.perf_counter()
    with open_cluster(LOCAL), tempfile.TemporaryDirectory() as scratch:
        print(f"the cluster started in {time.perf_counter() - started:.1f} s")
        folder = Path(scratch)
        make_photos(folder / "photos", NOISE)
        files = sorted((folder / "photos").iterdir())

        def fetch(place: Path, count: int, engine: str | None) -> float:
            return download_seconds(place, url, count, engine)

        def look(place: Path, count: int, engine: str | None) -> float:
            several = [files[number % NAMES] for number in range(count)]
            return embed_seconds(place, several, chosen.embedder, engine)

        with serving(folder, nginx_program()) as url:
            measure("download", fetch, chosen.photos, chosen.turns)
        measure(f"embeddings, {chosen.embedder}", look, chosen.photos, chosen.turns)


if __name__ == "__main__":
    main()
