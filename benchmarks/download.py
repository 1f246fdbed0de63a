"""``download`` with all its checks against plain httpx, bare aiohttp and img2dataset: one list, one server on loopback.

Run: ``python -m benchmarks.download [PHOTOS]``. Each way runs in a process of its own from its start to its end, in
turns, since a neighbour's work on the machine would else fall on one only; figures are medians. The server is nginx
where it is installed, else a small one (``--server small`` takes that anyway). aiohttp and img2dataset take part where
they are installed; img2dataset brings its own versions of much, so ``--img2dataset`` takes the Python of another
environment. ``--memory 20000,200000`` instead runs `download` alone, over so many photos, and prints its memory.

Of them only `download` judges every photo, waits for the disk at its end, keeps a journal, and can be killed at any
moment. img2dataset is told to neither resize nor encode, and to leave EXIF data alone; it hashes, as
`download` does, and also writes a JSON file for each photo; as "decoding" it opens each photo as well.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from benchmarks.photo_server import NAMES, make_photos, nginx_program, serving

FIRST = 10_000_000  # photo id; those after it follow
CLASS = 100  # photos
STARTS = 2  # runs of each way over a single photo; the first one warms up
NOISE = 11.0
OURS, HTTPX, AIOHTTP = "shroomcurate download", "httpx", "aiohttp"
UNWRITTEN = "aiohttp, nothing written"
IMG2DATASET = {
    "img2dataset, 1 process": (1, "--disable_all_reencoding=True"),
    "img2dataset, 2 processes": (2, "--disable_all_reencoding=True"),
    "img2dataset, 2 processes, decoding": (2, "--skip_reencode=True"),
}
THREADS = 64  # of img2dataset, a process
SHARD = 500  # photos that img2dataset hands to a process at a time


@dataclass
class Measured:
    """What the runs of one way took. Processor time is that of all its processes, user and system."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    start: tuple[float, float] = (float("inf"), float("inf"))
    """Seconds and processor time of a single photo, the least of some runs: what it takes to start."""
    peak: int = 0
    """Largest memory of all its processes together, in bytes, what they share counted once."""
    note: str = ""

    def speeds(self, photos: int) -> tuple[float, float]:
        """Return photos a second and photos a second of processor time, from its start to its end."""
        return photos / statistics.median(self.seconds), photos / statistics.median(self.cpu)

    def started(self, photos: int) -> tuple[float, float]:
        """Return the same without its start, which a longer list makes smaller; not a number for a short one."""
        taken = statistics.median(self.seconds) - self.start[0], statistics.median(self.cpu) - self.start[1]
        seconds, cpu = ((photos - 1) / each if each > 0 else float("nan") for each in taken)
        return seconds, cpu


@dataclass(frozen=True)
class Photos:
    """A list of photos in the forms in which the ways take it."""

    folder: Path
    count: int

    @property
    def selection(self) -> Path:
        """As `query` writes it."""
        return self.folder / f"selection-{self.count}.parquet"

    @property
    def urls(self) -> Path:
        """An address a line."""
        return self.folder / f"urls-{self.count}.txt"


Command = Callable[[Photos, Path], list[str | Path]]
"""Photos and an empty folder -> what to run."""


# -- what is fetched -----------------------------------------------------------------------------------------------


def elsewhere(work: Callable[..., None], *arguments: Any) -> None:
    """Run in a process of its own, since this one's memory would be counted as that of its children."""
    process = get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} ended with {process.exitcode}")


def write_lists(photos: Photos, url: str) -> None:
    """Write the selection and the addresses."""
    from shroomcurate.dataset import Receipt, make_table, write_table
    from shroomcurate.select import SCHEMA

    rows = [selection_row(number) for number in range(photos.count)]
    write_table(photos.selection, make_table(SCHEMA, rows), Receipt("query", {"per_class": CLASS}))
    photos.urls.write_text("".join(f"{url}/photos/{row['photo_id']}/medium.jpg\n" for row in rows))


def selection_row(number: int) -> dict[str, object]:
    """Return a photo as `query` selects it; two are of an observation."""
    taxon, rank = divmod(number, CLASS)
    return {
        "photo_id": FIRST + number,
        "photo_uuid": f"00000000-0000-4000-8000-{FIRST + number:012d}",
        "observation_uuid": f"00000000-0000-4000-9000-{number // 2:012d}",
        "observer_id": 1 + rank % 25,
        "taxon_id": 1 + taxon,
        "taxon_name": f"Genus species{taxon}",
        "class": f"Genus_species{taxon}",
        "class_name": f"Genus species{taxon}",
        "class_taxon_id": 1 + taxon,
        "rank_in_class": 1 + rank,
        "role": "wanted",
        "extension": "jpg",
        "license": "CC-BY",
        "attribution": f"© Observer {1 + rank % 25}, some rights reserved (CC-BY)",
        "latitude": 47.0,
        "longitude": 8.0,
    }


def expected_bytes(folder: Path, photos: Photos) -> int:
    """Return the bytes that all photos have together."""
    sizes = [(folder / f"{number:03}.jpg").stat().st_size for number in range(NAMES)]
    return sum(sizes[(FIRST + number) % NAMES] for number in range(photos.count))


# -- the ways ------------------------------------------------------------------------------------------------------


def ours(url: str, concurrency: int) -> Command:
    """Return how a user downloads."""

    def command(photos: Photos, folder: Path) -> list[str | Path]:
        (folder / "selection.parquet").hardlink_to(photos.selection)
        words = ["--base-url", url, "--concurrency", str(concurrency), "--quiet"]
        return [sys.executable, "-m", "shroomcurate", "download", "--dataset", folder, *words]

    return command


def plain(way: str, concurrency: int) -> Command:
    """Return one of benchmarks.downloaders."""
    words = [sys.executable, "-m", "benchmarks.downloaders", way]
    return lambda photos, folder: [*words, photos.urls, str(concurrency), folder]


def img2dataset(python: str, processes: int, encoding: str) -> Command:
    """Return its command line."""
    words = [python, "-m", "img2dataset.main", f"--processes_count={processes}", f"--thread_count={THREADS}", encoding]
    words += ["--resize_mode=no", "--output_format=files", "--extract_exif=False", "--timeout=60", "--retries=0"]
    words += [f"--number_sample_per_shard={SHARD}"]
    return lambda photos, folder: [*words, f"--url_list={photos.urls}", f"--output_folder={folder}/photos"]


def ways(url: str, chosen: argparse.Namespace) -> dict[str, Command | str]:
    """Return each way by name: its command, or why it cannot run."""
    aiohttp = None if find_spec("aiohttp") else "skipped: type pip install aiohttp"
    look = "import importlib.util, sys; sys.exit(not importlib.util.find_spec('img2dataset'))"
    python = chosen.img2dataset
    found = not subprocess.run([python, "-c", look], env=environment(python), check=False).returncode
    lacking = "skipped: type pip install img2dataset in an environment of its own, and give its Python by --img2dataset"
    return {
        OURS: ours(url, chosen.concurrency),
        HTTPX: plain("httpx", chosen.concurrency),
        AIOHTTP: aiohttp or plain("aiohttp", chosen.concurrency),
        UNWRITTEN: aiohttp or plain("aiohttp-unwritten", chosen.concurrency),
        **{name: img2dataset(python, *words) if found else lacking for name, words in IMG2DATASET.items()},
    }


def environment(python: str | Path, scratch: Path | None = None) -> dict[str, str]:
    """Return the environment of a run: packages that PYTHONPATH names are not for another environment's Python."""
    own = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}  # img2dataset's asks the network for its newest version
    if scratch:
        own["TMPDIR"] = str(scratch)  # img2dataset leaves folders behind
        own["PYTHONPYCACHEPREFIX"] = str(scratch / "compiled")  # as a user's Python, which compiles a module once
        own.pop("PYTHONDONTWRITEBYTECODE", None)
    if str(python) != sys.executable:
        own.pop("PYTHONPATH", None)
    return own


# -- measuring -----------------------------------------------------------------------------------------------------


def run(command: list[str | Path], scratch: Path) -> tuple[float, float, int]:
    """Return the seconds, those of processor time, and the largest memory in bytes, its children's included."""
    with tempfile.TemporaryFile("w+") as printed:
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment(command[0], scratch), stdout=printed, stderr=printed)
        ended, together = threading.Event(), [0]
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, together))
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # this one is told to end
            process.terminate()
            raise
        finally:
            seconds = time.monotonic() - started
            ended.set()
            watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}: {printed.read()[-2000:]}")
        return seconds, usage.ru_utime + usage.ru_stime, max(usage.ru_maxrss * 1024, *together)


def _watch(pid: int, ended: threading.Event, together: list[int]) -> None:
    """Look now and then at the memory of a process that has children: the system tells the largest one's only."""
    while not ended.wait(0.5):
        with suppress(psutil.Error):
            first = psutil.Process(pid)
            if children := first.children(recursive=True):
                together[0] = max(together[0], sum(each.memory_full_info().pss for each in (first, *children)))


def run_way(command: Command, photos: Photos, size: int | None) -> tuple[float, float, int]:
    """Run in a fresh folder and see that every photo is there, whole.

    The folder stays until the end of all: ext4 without a journal takes several times as long to make files just after
    others were deleted.
    """
    folder = Path(tempfile.mkdtemp(dir=photos.folder))
    words = command(photos, folder)
    os.sync()  # what the way before has written is not for this one to wait for
    took = run(words, photos.folder)
    files = [path.stat().st_size for path in folder.rglob("*.jpg")]
    if size is not None and (len(files), sum(files)) != (photos.count, size):
        raise SystemExit(f"{len(files):,} of {photos.count:,} photos came, {sum(files):,} of {size:,} bytes")
    return took


def measure(url: str, scratch: Path, chosen: argparse.Namespace) -> dict[str, Measured]:
    """Run all ways in turns; before that twice on a single photo."""
    one, all_of_them = Photos(scratch, 1), Photos(scratch, chosen.photos)
    for photos in (one, all_of_them):
        elsewhere(write_lists, photos, url)
    results = {name: Measured() for name in ways(url, chosen)}
    for photos in [one] * STARTS + [all_of_them] * chosen.rounds:
        for name, command in ways(url, chosen).items():
            measured = results[name]
            if isinstance(command, str):
                measured.note = command
                continue
            size = None if name == UNWRITTEN else expected_bytes(scratch / "photos", photos)
            seconds, cpu, peak = run_way(command, photos, size)
            print(f"{name}: {photos.count:,} in {seconds:.1f} s, CPU {cpu:.1f} s", file=sys.stderr, flush=True)
            if photos is one:
                measured.start = min(measured.start[0], seconds), min(measured.start[1], cpu)
                continue
            measured.seconds.append(seconds)
            measured.cpu.append(cpu)
            measured.peak = max(measured.peak, peak)
    return results


def measure_memory(url: str, scratch: Path, chosen: argparse.Namespace) -> None:
    """Run `download` over each number of photos, and print a table of its memory."""
    print("\n| photos | photos/s | peak memory |\n|---|---|---|")
    for count in chosen.memory:
        photos = Photos(scratch, count)
        elsewhere(write_lists, photos, url)
        size = expected_bytes(scratch / "photos", photos)
        seconds, _, peak = run_way(ours(url, chosen.concurrency), photos, size)
        print(f"| {count:,} | {count / seconds:,.0f} | {peak / 2**20:,.0f} MiB |", flush=True)


# -- the table -----------------------------------------------------------------------------------------------------


def table(results: dict[str, Measured], photos: int) -> str:
    """Return a line a way; the last two columns say how many times as much ours does."""
    columns = ["way", "photos/s", "after its start", "CPU a photo", "photos per CPU-second", "after its start"]
    columns += ["start", "peak memory", "ours: photos/s", "ours: photos per CPU-second"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    own = results[OURS].speeds(photos)
    for name, way in results.items():
        if not way.seconds:
            lines.append(f"| {name} | {way.note} |" + " – |" * (len(columns) - 2))
            continue
        (each_second, each_core), started = way.speeds(photos), way.started(photos)
        cells = (
            f"{each_second:,.0f} | {started[0]:,.0f} | {1000 / each_core:.2f} ms",
            f"{each_core:,.0f} | {started[1]:,.0f}",
            f"{way.start[0]:.1f} s, CPU {way.start[1]:.1f} s | {way.peak / 2**20:,.0f} MiB",
            f"{own[0] / each_second:.2f} × | {own[1] / each_core:.2f} ×",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratios(results: dict[str, Measured], photos: int) -> list[str]:
    """Return the claims as sentences, as far as their ways ran: of whole commands, and without their start."""
    ran = {name: way for name, way in results.items() if way.seconds}
    rivals = [name for name in IMG2DATASET if name in ran]
    lines = []
    for title, speeds in (("Whole commands", Measured.speeds), ("After their start", Measured.started)):
        of = {name: speeds(way, photos) for name, way in ran.items()}
        parts = [f"download brings {of[OURS][0] / of[HTTPX][0]:.2f} times as many photos a second as plain httpx"]
        if AIOHTTP in of:
            parts.append(f"{of[OURS][0] / of[AIOHTTP][0]:.0%} of what bare aiohttp brings without checks")
        if rivals:
            times = of[OURS][1] / max(of[name][1] for name in rivals)
            parts.append(f"{times:.2f} times as many per CPU-second as the best img2dataset")
        lines.append(f"{title}: {', '.join(parts)}.")
    return lines


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="?", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    parser.add_argument("--concurrency", type=int, default=32, help="requests at a time, but img2dataset's")
    parser.add_argument("--server", choices=("nginx", "small"), help="left away: nginx where it is installed")
    parser.add_argument("--img2dataset", metavar="PYTHON", default=sys.executable, help="a Python that has it")
    parser.add_argument("--memory", type=lambda text: [int(part) for part in text.split(",")], metavar="PHOTOS,...")
    return parser.parse_args(words)


def main() -> None:
    """Run what the command line asks for and print the table."""
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends, and the folder is removed
    program = None if chosen.server == "small" else nginx_program()
    if chosen.server == "nginx" and not program:
        raise SystemExit("nginx is not installed. Type apt-get install nginx-light, or leave --server away.")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        load = os.getloadavg()[0]
        elsewhere(make_photos, scratch / "photos", 0.0 if chosen.memory else NOISE)
        url = stack.enter_context(serving(scratch, program))
        size = expected_bytes(scratch / "photos", Photos(scratch, NAMES)) / NAMES
        print(f"{os.cpu_count()} cores, {load:.1f} of them busy with something else at the start; Python", end=" ")
        print(".".join(map(str, sys.version_info[:3])), end="; ")
        print(f"photos of {size / 1000:.0f} kB from {'nginx' if program else 'the small server'}, ", end="")
        print(f"{chosen.concurrency} requests at a time")
        if chosen.memory:
            measure_memory(url, scratch, chosen)
            return
        results = measure(url, scratch, chosen)
        print(f"\n{chosen.photos:,} photos, medians of {chosen.rounds}\n\n{table(results, chosen.photos)}\n")
        print("\n".join(ratios(results, chosen.photos)))
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"(Memory below {own:,.0f} MiB, this script's own, would not be seen.)")


if __name__ == "__main__":
    main()
