"""The review page over 100,000 photos: how soon the first is seen, what scrolling costs, when a verdict is on disk.

Run: ``python -m benchmarks.review [PHOTOS]``; needs chromium. The photos are hard links to 48 of them, of 500 x 375
pixels, in 445 classes, cleaned as far as the page can tell; so the disk is warm, but each has to be decoded. The naive
way, in the same run and the same browser: one page of as many ``<img loading=lazy>`` of the same photos, from the
demo's photo server. ``--start`` measures the start alone, over tables that nobody has read and with no thumbnail made.

Frames are counted twice: as scripts see them (each ``requestAnimationFrame`` while the wall moves), and as the screen
got them (the browser's own screencast). A frame is without rows when more than half a row's height of the wall shows
neither a cell nor a heading.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html import escape
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import psutil

from shroomcurate.clean.tables import SCHEMA
from shroomcurate.dataset import Dataset, Receipt, arrow_schema, write_table
from shroomcurate.demo.server import serve_photos
from shroomcurate.select import SCHEMA as SELECTION

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page

CLASSES, DISTINCT = 445, 48
REMOVED_EVERY = 20
LINKS = 60_000  # a file, at most: ext4 allows 65,000
PHOTO = (500, 375)  # pixels, as iNaturalist's medium size
VERDICTS = 50
THUMBNAILS = 1000
AT_ONCE = 6  # connections that a browser opens to one server


# -- the photos --------------------------------------------------------------------------------------------------------


def make(folder: Path, photos: int, pictures: Sequence[bytes]) -> Dataset:
    """Make a dataset of so many photos, links to these few; every twentieth is removed."""
    import numpy as np

    dataset = Dataset(folder)
    sources = folder / "sources"
    sources.mkdir(parents=True)
    names = [f"Genus{number:03}_species" for number in range(CLASSES)]
    for tree in (dataset.images, dataset.removed / "scenery"):
        for name in names:
            (tree / name).mkdir(parents=True)
    each = -(-photos // CLASSES)
    kept = np.arange(photos) % REMOVED_EVERY != REMOVED_EVERY - 1
    paths = [f"{names[number // each]}/{number:06}.jpg" for number in range(photos)]
    roots = {True: f"{dataset.images}/", False: f"{dataset.removed}/scenery/"}
    for number, path in enumerate(paths):
        source = f"{sources}/{number % len(pictures)}-{number // len(pictures) // LINKS}.jpg"
        if number // len(pictures) % LINKS == 0:
            Path(source).write_bytes(pictures[number % len(pictures)])
        os.link(source, roots[bool(kept[number])] + path)
    shutil.rmtree(sources)
    _write_clean(dataset, paths, kept)
    _write_selection(dataset, paths)
    return dataset


def _write_clean(dataset: Dataset, paths: Sequence[str], kept: Any) -> None:
    import numpy as np
    import pyarrow as pa

    known: dict[str, Any] = {
        "path": pa.array([f"images/{path}" for path in paths]),
        "class": pa.array([path.partition("/")[0] for path in paths]),
        "cluster": pa.array(np.where(kept, 0, -1).astype(np.int32)),
        "kept": pa.array(kept),
        "reason": pa.array([None if stays else "scenery" for stays in kept.tolist()], pa.string()),
        "score": pa.array(np.where(kept, 0.1, 0.9).astype(np.float32)),
        "decided_by": pa.array(["rule"] * len(paths)),
    }
    chance = np.random.default_rng(1)
    schema = arrow_schema(SCHEMA)
    for column in schema:
        if column.name not in known:  # the evidence, and of which photo it is a duplicate
            drawn = pa.array(chance.random(len(paths), np.float32)) if pa.types.is_floating(column.type) else None
            known[column.name] = pa.nulls(len(paths), column.type) if drawn is None else drawn.cast(column.type)
    columns = [known[column.name] for column in schema]
    write_table(dataset.path("clean.parquet"), pa.table(columns, schema=schema), Receipt("clean", {}))


def _write_selection(dataset: Dataset, paths: Sequence[str]) -> None:
    """Write what was selected: these photos, and half as many again in reserve."""
    import numpy as np
    import pyarrow as pa

    count = len(paths) * 3 // 2
    numbers = np.arange(count)
    classes = [path.partition("/")[0] for path in paths]
    classes += [classes[number % len(paths)] for number in range(len(paths), count)]
    words = np.array(["CC-BY", "CC-BY-NC", "CC0"])
    known: dict[str, Any] = {
        "photo_id": pa.array(numbers),
        "observation_uuid": pa.array([f"00000000-0000-4000-8000-{number // 2:012}" for number in range(count)]),
        "taxon_name": pa.array([name.replace("_", " ") for name in classes]),
        "class": pa.array(classes),
        "license": pa.array(words[numbers % len(words)]),
        "attribution": pa.array([f"(c) observer {number % 9973}, some rights reserved" for number in range(count)]),
    }
    schema = arrow_schema(SELECTION)
    columns = [known.get(column.name, pa.nulls(count, column.type)) for column in schema]
    write_table(dataset.path("selection.parquet"), pa.table(columns, schema=schema), Receipt("query", {}))


def draw(count: int, size: tuple[int, int]) -> list[bytes]:
    """Return so many JPEGs: soft colours under noise, 40 kB each at 500 x 375 pixels."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(1)
    found = []
    for _ in range(count):
        colours = Image.fromarray(chance.integers(40, 216, (6, 8, 3), dtype=np.uint8))
        soft = np.asarray(colours.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
        packed = io.BytesIO()
        Image.fromarray((soft + chance.normal(0, 11, soft.shape)).clip(0, 255).astype(np.uint8)).save(
            packed, "JPEG", quality=80
        )
        found.append(packed.getvalue())
    return found


def naive_page(dataset: Dataset) -> Path:
    """Write the page of all photos as anybody would write it first, beside the photos."""
    file = dataset.path("naive.html")
    with file.open("w", encoding="utf-8") as handle:
        handle.write("<!DOCTYPE html><title>naive</title><body>")
        for place, _ in dataset.places().values():
            address = escape(os.path.relpath(place, dataset.root), quote=True)
            handle.write(f'<img loading="lazy" width="152" height="152" src="{address}">')
    return file


# -- frames ------------------------------------------------------------------------------------------------------------

#: Looks at the wall in each frame: is there a cell or a heading at every height of its first column, and do the photos
#: that are seen follow each other without one missing? `stopFrames()` gives what was found.
WATCH = """() => {
  const wall = document.getElementById("wall");
  const list = document.getElementById("list");
  window.wallFrames = { times: [], blank: [], most: 0, still: 0 };
  let last = performance.now();
  let before = null;
  let on = true;
  const hole = (box, cells, headings) => {
    const boxes = [...cells, ...headings].filter((each) => each.bottom > box.top && each.top < box.bottom);
    boxes.sort((a, b) => a.top - b.top);
    let seen = box.top;
    let widest = 0;
    for (const each of boxes) {
      widest = Math.max(widest, each.top - seen);
      seen = Math.max(seen, each.bottom);
    }
    return Math.max(widest, box.bottom - seen);
  };
  const sample = (now) => {
    if (!on) return;
    const box = wall.getBoundingClientRect();
    const options = [...list.children];
    const cells = options.map((each) => [each.getBoundingClientRect(), Number(each.ariaPosInSet)]);
    const inside = cells.filter(([each]) => each.bottom > box.top && each.top < box.bottom);
    const left = Math.min(...inside.map(([each]) => each.left));
    const headings = [...document.querySelectorAll(".heading")].map((each) => each.getBoundingClientRect());
    const places = inside.map(([, place]) => place).sort((a, b) => a - b);
    const row = cells.length ? cells[0][0].height : 100;
    const gap = hole(box, inside.map(([each]) => each).filter((each) => each.left < left + 2), headings);
    const holes = places.length === 0 || places.at(-1) - places[0] + 1 !== places.length || gap > row / 2;
    if (holes) wallFrames.blank.push({ top: wall.scrollTop, gap, places: [places[0], places.at(-1), places.length] });
    if (wall.scrollTop === before) wallFrames.still += 1;
    before = wall.scrollTop;
    wallFrames.most = Math.max(wallFrames.most, options.length);
    wallFrames.times.push(now - last);
    last = now;
    requestAnimationFrame(sample);
  };
  window.stopFrames = () => { on = false; return wallFrames; };
  requestAnimationFrame(sample);
}"""

#: The same for a page that has no wall: how long each frame took.
TIMES = """() => {
  window.wallFrames = { times: [], blank: [], most: document.images.length, still: 0 };
  let last = performance.now();
  let on = true;
  const sample = (now) => {
    if (!on) return;
    wallFrames.times.push(now - last);
    last = now;
    requestAnimationFrame(sample);
  };
  window.stopFrames = () => { on = false; return wallFrames; };
  requestAnimationFrame(sample);
}"""

#: When the first picture was there, in milliseconds since the navigation began.
FIRST = """
document.addEventListener("load", ({ target }) => {
  if (target.tagName === "IMG") window.firstPicture ??= performance.now();
}, true);
"""

#: How many pictures that are seen are not there yet. By points: to look at each of 100,000 elements takes longer.
AWAITED = """() => {
  const seen = new Set();
  for (let y = 130; y < innerHeight - 150; y += 60) {
    for (let x = 20; x < innerWidth; x += 60) {
      const at = document.elementFromPoint(x, y);
      seen.add(at?.tagName === "IMG" ? at : at?.closest(".cell")?.querySelector("img") ?? null);
    }
  }
  seen.delete(null);
  return seen.size ? [...seen].filter((each) => !(each.complete && each.naturalWidth > 0)).length : 1;
}"""

#: From the key to the mark that says 'saved', for each verdict; the page shows it after the server's fsync.
SAVED = """() => {
  window.savedAfter = [];
  let pressed = 0;
  document.addEventListener("keydown", () => { pressed = performance.now(); }, true);
  new MutationObserver((changes) => {
    if (changes.some(({ target }) => target.dataset.saved === "yes" && target.dataset.verdict)) {
      savedAfter.push(performance.now() - pressed);
    }
  }).observe(document.getElementById("list"), { subtree: true, attributeFilter: ["data-saved"] });
}"""


class Frames(NamedTuple):
    """What the frames of a movement were like; times in milliseconds."""

    times: list[float]
    blank: int
    most: int
    """Elements of photos in the page at the same time."""
    screens: int
    """Frames that the screen got."""
    blank_screens: int


@contextmanager
def watching(page: Page, script: str) -> Iterator[dict[str, Any]]:
    """Watch the frames while the block moves the page; fills the dictionary at its end."""
    found: dict[str, Any] = {}
    page.evaluate(script)
    yield found
    page.wait_for_timeout(200)
    found |= page.evaluate("stopFrames()")


@contextmanager
def filming(page: Page) -> Iterator[list[bytes]]:
    """Collect what the screen gets while the block runs, as PNG."""
    pictures: list[bytes] = []
    session: CDPSession = page.context.new_cdp_session(page)

    def got(event: dict[str, Any]) -> None:
        pictures.append(base64.b64decode(event["data"]))
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    session.on("Page.screencastFrame", got)
    session.send("Page.startScreencast", {"format": "png", "everyNthFrame": 1})
    yield pictures
    session.remove_listener("Page.screencastFrame", got)
    session.send("Page.stopScreencast")
    page.wait_for_timeout(100)
    session.detach()


def blank_screen(picture: bytes, wall: dict[str, float], row: float) -> bool:
    """Return whether half a row's height of the wall's first column shows nothing but the page's ground."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    top, bottom = round(wall["top"]), round(wall["bottom"])
    strip = pixels[top:bottom, round(wall["left"]) + 20 : round(wall["left"]) + 100]
    ground = pixels[round(wall["top"]) + 8, round(wall["left"]) + 3]
    empty = (abs(strip - ground) <= 2).all(axis=(1, 2))
    longest = run = 0
    for each in empty:
        run = run + 1 if each else 0
        longest = max(longest, run)
    return longest > row / 2


def wheel(page: Page, turns: int) -> None:
    """Turn the wheel as fast as a hand does."""
    window = page.viewport_size or {"width": 1280, "height": 800}
    page.mouse.move(window["width"] / 2, window["height"] / 2)
    for _ in range(turns):
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(15)


def jump(page: Page, jumps: int) -> None:
    """Drag the scroll bar to and fro, a jump every second frame."""
    page.evaluate(JUMP, jumps)


JUMP = """async (jumps) => {
  const scroller = document.getElementById("wall") ?? document.scrollingElement;
  for (let k = 0; k < jumps; k += 1) {
    scroller.scrollTop = (scroller.scrollHeight * ((k * 61) % 97)) / 97;
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
  }
}"""


# -- what is measured --------------------------------------------------------------------------------------------------


class Server(NamedTuple):
    """A server of our own, and how long after the command its address was there."""

    process: Popen[str]
    url: str
    seconds: float


@contextmanager
def serving(dataset: Dataset) -> Iterator[Server]:
    """Run `shroomcurate review` as a person does."""
    command = [sys.executable, "-m", "shroomcurate", "review", "--no-browser", "--dataset", str(dataset.root)]
    started = time.monotonic()
    own = {**os.environ, "SHROOMCURATE_HOME": str(dataset.root.parent / "home")}  # its address is remembered there
    with Popen(command, env=own, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            for line in process.stderr or ():
                if found := re.search(r"http://127\.0\.0\.1:\d+/\S+/", line):
                    yield Server(process, found[0], time.monotonic() - started)
                    break
            else:
                raise SystemExit(f"{' '.join(command)} has ended.")
        finally:
            process.terminate()


def forget_thumbnails(dataset: Dataset) -> None:
    """Let every thumbnail be made anew."""
    shutil.rmtree(dataset.path(".review"), ignore_errors=True)


@contextmanager
def tab(browser: Browser, script: str = FIRST) -> Iterator[Page]:
    """Give a new page that knows nothing of those before it."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(script)
    yield page
    context.close()


def first_picture(page: Page, url: str) -> tuple[float, float]:
    """Open an address; return milliseconds from the navigation to the first picture, and to all that are seen."""
    page.goto(url, wait_until="commit")
    while (first := page.evaluate("window.firstPicture ?? 0")) == 0:
        page.wait_for_timeout(5)
    return float(first), settle(page)


def settle(page: Page) -> float:
    """Wait until every picture that is seen is there; return when, in milliseconds since the navigation."""
    while page.evaluate(AWAITED) or page.evaluate(AWAITED):  # twice: the page may be about to ask for more
        page.wait_for_timeout(5)
    return float(page.evaluate("performance.now()"))


class Opened(NamedTuple):
    """Milliseconds until the first picture and until all that are seen, of each run."""

    first: list[float]
    all: list[float]


def opened(browser: Browser, url: str, runs: int) -> Opened:
    """Open an address in new pages, one after the other."""
    found = []
    for _ in range(runs):
        with tab(browser) as page:
            found.append(first_picture(page, url))
    return Opened([first for first, _ in found], [every for _, every in found])


def after_a_jump(page: Page) -> float:
    """Return how long after a jump to the middle all pictures that are seen are there, in milliseconds."""
    page.evaluate(
        "() => { const it = document.getElementById('wall') ?? document.scrollingElement;"
        " it.scrollTop = it.scrollHeight / 2; window.jumped = performance.now(); }"
    )
    page.wait_for_timeout(20)
    return settle(page) - float(page.evaluate("jumped"))


def moved(page: Page, script: str, turns: int) -> list[Frames]:
    """Scroll by the wheel and by jumps; return the frames of each, first those that scripts see, then the screen's."""
    found = []
    for move in (wheel, jump):
        with watching(page, script) as seen:
            move(page, turns)
        screens, blank = 0, 0
        if script == WATCH:
            wall = page.evaluate("document.getElementById('wall').getBoundingClientRect().toJSON()")
            row = page.evaluate("document.querySelector('#list .cell').getBoundingClientRect().height")
            with filming(page) as pictures:
                move(page, turns // 2)
            screens, blank = len(pictures), sum(blank_screen(each, wall, row) for each in pictures)
        found.append(Frames(seen["times"], len(seen["blank"]), seen["most"], screens, blank))
    return found


def saved_after(page: Page) -> list[float]:
    """Give verdicts by keys, one after the other is saved; return milliseconds from each key to its mark."""
    page.locator("#list").focus()
    page.keyboard.press("Home")
    page.evaluate(SAVED)
    for given in range(VERDICTS):
        page.keyboard.press("k")
        while page.evaluate("savedAfter.length") <= given:
            page.wait_for_timeout(5)
    return [float(each) for each in page.evaluate("savedAfter")]


def bare_fsync(folder: Path) -> list[float]:
    """Return milliseconds that a line and its fsync take without anything else, for comparison."""
    found = []
    with (folder / "line").open("ab", buffering=0) as handle:
        for _ in range(VERDICTS):
            started = time.perf_counter()
            handle.write(b"images/Genus000_species/000000.jpg,keep,,review,2026-01-01T00:00:00Z\n")
            os.fsync(handle.fileno())
            found.append(1000 * (time.perf_counter() - started))
    return found


def thumbnails_a_second(url: str, numbers: range) -> float:
    """Ask for thumbnails over as many connections as a browser has; return how many came a second."""
    parts = urlsplit(url)

    def connect() -> HTTPConnection:
        return HTTPConnection(parts.hostname or "", parts.port or 0)

    def get(connection: HTTPConnection, address: str) -> bytes:
        connection.request("GET", f"{parts.path}{address}")
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{address}: {content.decode()}")
        return content

    generation = json.loads(get(connect(), "api/dataset"))["generation"]

    def ask(mine: range) -> None:
        connection = connect()
        for number in mine:
            get(connection, f"thumbnail/{number}?g={generation}")

    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as connections:
        list(connections.map(ask, (numbers[first::AT_ONCE] for first in range(AT_ONCE))))
    return len(numbers) / (time.perf_counter() - started)


@contextmanager
def serving_naively(dataset: Dataset) -> Iterator[str]:
    """Serve the photos and the page of all of them from a process of its own; give that page's address."""
    file = naive_page(dataset)
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(dataset.root, theirs), daemon=True)
    process.start()
    try:
        yield f"{ours.recv()}/{file.name}"
    finally:
        process.terminate()
        process.join()


def _serve(folder: Path, address: Any) -> None:
    with serve_photos(folder) as url:
        address.send(url)
        Event().wait()


# -- the table ---------------------------------------------------------------------------------------------------------


def line(what: str, *values: str) -> None:
    """Print a row of the table."""
    print(f"{what:<56}" + "".join(f"{value:>20}" for value in values).rstrip(), flush=True)


def spread(values: Sequence[float], unit: str = "ms") -> str:
    """Return the median and the worst."""
    return f"{statistics.median(values):.0f} ({max(values):.0f}) {unit}"


def frames_line(what: str, ours: Frames, naive: Frames) -> None:
    """Print how long the frames of a movement took: median, 95th percentile, worst."""

    def times(frames: Frames) -> str:
        ordered = sorted(frames.times)
        at = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        return f"{statistics.median(ordered):.0f}/{at:.0f}/{ordered[-1]:.0f} ms"

    line(f"{what}: frame, median/95 %/worst", times(ours), times(naive))
    line(f"{what}: frames without rows, of those seen by scripts", f"{ours.blank} of {len(ours.times)}", "")
    line(f"{what}: frames without rows, of those on the screen", f"{ours.blank_screens} of {ours.screens}", "")


def from_the_command(browser: Browser, dataset: Dataset, runs: int) -> None:
    """Print how long after the command one sees photos of which there is no thumbnail yet.

    The browser is there before the command, so that nothing is done behind the clock while it starts.
    """
    addresses, firsts, all_seen = [], [], []
    for _ in range(runs):
        forget_thumbnails(dataset)
        with tab(browser) as page, serving(dataset) as server:
            first, every = first_picture(page, f"{server.url}#view=all")
            addresses.append(1000 * server.seconds)
            firsts.append(first)
            all_seen.append(every)
    line("command to address", spread(addresses))
    line("  then to the first picture; tables read, it made anew", spread(firsts))
    line("  then to every picture that is seen", spread(all_seen))
    line("command to the first picture", spread([a + b for a, b in zip(addresses, firsts, strict=True)]))


def side_by_side(browser: Browser, wall_url: str, naive_url: str, runs: int, turns: int) -> tuple[float, float]:
    """Print how the wall and the naive page open and scroll.

    Returns
    -------
    tuple
        How many times as soon the wall shows every picture that is seen, and the first one.
    """
    opened(browser, wall_url, 1)  # makes the thumbnails
    ours, naive = opened(browser, wall_url, runs), opened(browser, naive_url, runs)
    line("", "wall", "naive page")
    line("navigation to the first picture", spread(ours.first), spread(naive.first))
    line("navigation to every picture that is seen", spread(ours.all), spread(naive.all))
    with tab(browser) as wall, tab(browser) as plain:
        first_picture(wall, wall_url)
        first_picture(plain, naive_url)
        jumps = [f"{after_a_jump(page):.0f} ms" for page in (wall, plain)]
        line("jump to the middle, until its pictures are there", *jumps)
        pairs = list(zip(moved(wall, WATCH, turns), moved(plain, TIMES, turns), strict=True))
        for name, (mine, other) in zip(("wheel", "jumps"), pairs, strict=True):
            frames_line(name, mine, other)
        line("photos in the page at once", f"{max(mine.most for mine, _ in pairs):,}", f"{pairs[0][1].most:,}")
    every, first = ((statistics.median(b) / statistics.median(a)) for a, b in zip(ours[::-1], naive[::-1], strict=True))
    return every, first


def compare(browser: Browser, dataset: Dataset, runs: int, turns: int) -> tuple[float, float]:
    """Print all that is measured; return what :func:`side_by_side` does."""
    forget_thumbnails(dataset)
    count = len(dataset.places())
    with serving(dataset) as server:
        with serving_naively(dataset) as naive_url:
            ratios = side_by_side(browser, f"{server.url}#view=all", naive_url, runs, turns)
        with tab(browser) as wall:
            first_picture(wall, f"{server.url}#view=all")
            line("key to 'saved' on the page, after fsync", spread(saved_after(wall)))
        line("a line and its fsync alone", spread(bare_fsync(dataset.root)))
        some = range(count // 2, min(count, count // 2 + THUMBNAILS))
        speeds = [thumbnails_a_second(server.url, some) for _ in range(2)]
        line("thumbnails a second, made anew / kept", "{:.0f} / {:.0f}".format(*speeds))
        line("memory of the server", f"{psutil.Process(server.process.pid).memory_info().rss / 2**20:.0f} MiB")
    return ratios


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the photos and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="?", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--turns", type=int, default=120, help="of the wheel, and jumps of the scroll bar")
    parser.add_argument("--start", action="store_true", help="measure the start alone")
    asked = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        dataset = make(Path(folder) / "fungi", asked.photos, draw(DISTINCT, PHOTO))
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        print(f"{asked.photos:,} photos in {CLASSES} classes, chromium {browser.version}, {os.cpu_count()} cores")
        print("median (worst)")
        from_the_command(browser, dataset, asked.runs)
        ratios = None if asked.start else compare(browser, dataset, asked.runs, asked.turns)
        browser.close()
    if ratios is None:
        return
    every, first = ratios
    print(
        f"Every picture that is seen is there {every:.1f} times as soon as on a plain page of all photos, "
        f"the first one {first:.1f} times."
    )


if __name__ == "__main__":
    main()
