"""``fetch-dumps`` against curl and wget on loopback: the four files of a dump, from a server that sends by sendfile.

Run: ``python -m benchmarks.fetch [MEGABYTES]``. Prints a table for a server that sends as fast as it can, and one for a
server that gives each connection 20 MB/s, as S3 gives a distant client less than its line; each ends with the ratio.
The last rows are the stream that ``load-csvs URL`` reads, without a disk, beside httpx and curl doing the same.
"""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from shroomcurate.catalogue.fetch import TABLE_FILES, FetchOptions, fetch_dumps
from shroomcurate.catalogue.stream import open_remote

ROUNDS = 5
LIMIT = 20_000_000  # bytes a second
SHARES = {"taxa.csv.gz": 0.001, "observers.csv.gz": 0.001, "observations.csv.gz": 0.4, "photos.csv.gz": 0.598}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    limit = 0

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:  # the library's name
        self.do_GET(head=True)

    def do_GET(self, *, head: bool = False) -> None:
        with Path(self.path.lstrip("/")).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first, stop = (int(wanted[1]), int(wanted[2] or size - 1) + 1) if wanted else (0, size)
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{size}")
            for name, value in (("Content-Length", stop - first), ("ETag", f'"{size}-1"'), ("Accept-Ranges", "bytes")):
                self.send_header(name, str(value))
            self.send_header("Last-Modified", "Mon, 27 Jul 2026 03:11:22 GMT")
            self.end_headers()
            started, sent = time.monotonic(), 0
            while not head and first + sent < stop:
                sent += os.sendfile(
                    self.connection.fileno(), file.fileno(), first + sent, min(stop - first - sent, 1 << 18)
                )
                if self.limit:
                    time.sleep(max(0.0, sent / self.limit - (time.monotonic() - started)))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # a client that has enough hangs up


def _serve(folder: str, limit: int, port: Any) -> None:
    os.chdir(folder)
    _Handler.limit = limit
    server = _Server(("127.0.0.1", 0), _Handler)
    port.send(server.server_port)
    server.serve_forever()


@contextmanager
def serving(folder: Path, limit: int) -> Iterator[str]:
    """Give the address of a server in a process of its own."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(str(folder), limit, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def make_dump(folder: Path, size: int) -> None:
    """Write four gzip files of ``size`` bytes together: lines of ids and figures, packed about as a dump is."""
    chance = random.Random(1)
    lines = b"".join(
        b"%032x\t%d\t%.6f\tresearch\n" % (chance.getrandbits(128), chance.randrange(10**7), chance.uniform(-90, 90))
        for _ in range(200_000)
    )
    packed = gzip.compress(lines, 6, mtime=0)
    for name, share in SHARES.items():
        with (folder / name).open("wb") as file:
            for _ in range(max(1, round(share * size / len(packed)))):
                file.write(packed)


def timed(work: Callable[[Path], None]) -> float:
    """Return the seconds that work in a fresh folder takes."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        work(Path(folder))
        return time.perf_counter() - started


def fetchers(url: str) -> dict[str, Callable[[Path], None]]:
    """Return the ways to fetch the four files, by name."""
    addresses = [f"{url}/{name}" for name in TABLE_FILES]

    def curl(folder: Path) -> None:
        each = [word for address in addresses for word in ("-O", address)]
        subprocess.run(["curl", "--silent", "--fail", *each], cwd=folder, check=True)

    def curl_and_check(folder: Path) -> None:
        curl(folder)
        subprocess.run(["sha256sum", *TABLE_FILES], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["gzip", "--test", *TABLE_FILES], cwd=folder, check=True)

    def wget(folder: Path) -> None:
        subprocess.run(["wget", "--quiet", *addresses], cwd=folder, check=True)

    def ours(connections: int) -> Callable[[Path], None]:
        return lambda folder: void(fetch_dumps(FetchOptions(folder, url, connections=connections)))

    found = {"curl": curl, "wget": wget, "curl, sha256sum, gzip --test": curl_and_check}
    found = {name: way for name, way in found.items() if shutil.which(name.split(",")[0])}
    return found | {"fetch-dumps --connections 1": ours(1), "fetch-dumps": ours(4)}


def streams(url: str) -> dict[str, Callable[[Path], None]]:
    """Return the ways to read the largest file without keeping it."""
    address = f"{url}/photos.csv.gz"

    def plain(_: Path) -> None:
        import httpx

        with httpx.stream("GET", address, headers={"Accept-Encoding": "identity"}, trust_env=False) as response:
            for _ in response.iter_raw():
                pass

    def ours(_: Path) -> None:
        scratch = bytearray(1 << 20)
        with open_remote(address) as stream:
            while stream.readinto(scratch):
                pass

    def curl(_: Path) -> None:
        subprocess.run(["curl", "--silent", "--fail", "-o", os.devnull, address], check=True)

    return {"curl to /dev/null": curl, "httpx iter_raw": plain, "open_remote": ours}


def void(_: object) -> None:
    """Drop a result."""


def compare(title: str, ways: dict[str, Callable[[Path], None]], size: int, rounds: int) -> None:
    """Run all ways in turn, so that a busy moment meets each of them, and print their medians."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(timed(way))
    print(f"\n{title}, {size / 1e6:,.0f} MB, median of {rounds}")
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"  {name:<32}{median:8.2f} s{size / median / 1e6:10,.0f} MB/s")
    first, last = next(iter(medians)), list(medians)[-1]
    print(f"  {last} takes {medians[last] / medians[first]:.2f} times as long as {first}")


def main() -> None:
    """Print the tables."""
    size = int(sys.argv[1] if len(sys.argv) > 1 else 500) * 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_dump(folder, size)
        whole = sum((folder / file).stat().st_size for file in TABLE_FILES)
        with serving(folder, 0) as url:
            compare("Fetching, the line is no limit", fetchers(url), whole, ROUNDS)
            compare("Reading", streams(url), (folder / "photos.csv.gz").stat().st_size, ROUNDS)
        with serving(folder, LIMIT) as url:
            compare(f"Fetching, {LIMIT / 1e6:.0f} MB/s a connection", fetchers(url), whole, 1)


if __name__ == "__main__":
    main()
