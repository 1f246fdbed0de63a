"""The map of 250,000 photos: seconds and memory until their places are known, and frames a second while it moves.

``places`` computes PCA (or UMAP) of generated embeddings as the review page's server does, in a process of its own.
``frames`` opens the page's own modules in chromium without a GPU, on generated places, and moves and zooms the map.

    python -m benchmarks.review_map places --photos 250000 --method pca
    python -m benchmarks.review_map frames --photos 250000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.clean_scale import vectors_of
from shroomcurate.dataset import Dataset, Receipt, write_table
from shroomcurate.review.layouts import Layouts
from shroomcurate.tree import REASONS

PAGE = Path(__file__).parents[1] / "src/shroomcurate/review/page"
CLASSES, LENGTH = 445, 576
CHROMIUM = "/usr/bin/chromium"


def make(dataset: Dataset, photos: int) -> None:
    """Write embeddings of so many photos of 445 classes."""
    import pyarrow as pa

    vectors = vectors_of(CLASSES, -(-photos // CLASSES), LENGTH)[:photos]
    paths = [f"images/class_{number * CLASSES // photos:03}/{number}.jpg" for number in range(photos)]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), LENGTH)
    write_table(dataset.path("embeddings.parquet"), pa.table({"path": paths, "vector": column}), Receipt("embed", {}))


def measure(folder: str, method: str) -> None:
    """Compute the places, and look them up again; print what it took."""
    layouts = Layouts(Dataset(folder))
    took = []
    for _ in range(2):
        start = time.monotonic()
        while (layout := layouts.get(method)) is None:
            time.sleep(0.1)
        took.append(time.monotonic() - start)
    layouts.close()
    # Not getrusage of this process: it counts from what the one that started it had.
    own = next(line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith("VmHWM"))
    peak = max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    share = "" if layout.share is None else f", {layout.share:.0%} of the variance"
    print(f"| {method} | {len(layout.paths):,} | {took[0]:.1f} s | {took[1]:.2f} s | {peak / 1024:.0f} MiB |{share}")


FRAMES = """async () => {
    const { Store } = await import("./store.js");
    const { MapView } = await import("./map.js");
    const store = new Store();
    await store.load();
    const map = new MapView(document.getElementById("map"), store);
    await map.show();
    const frames = async (step) => {
        await new Promise((done) => setTimeout(done, 500));
        const times = [];
        const start = performance.now();
        for (let last = start, n = 0; last - start < 5000; n += 1) {
            step(n);
            const now = await new Promise((done) => requestAnimationFrame(() => done(performance.now())));
            times.push(now - last);
            last = now;
        }
        times.sort((a, b) => a - b);
        const second = (1000 * times.length) / times.reduce((sum, one) => sum + one);
        return { second, slow: times[Math.floor(times.length * 0.95)], stride: map.stride };
    };
    const found = {};
    found["moving, all in view"] = await frames((n) => map.panBy(20 * Math.sin(n / 10), 12 * Math.cos(n / 10)));
    found["zooming"] = await frames((n) => map.zoomAt(400, 300, n % 60 < 30 ? 1.05 : 1 / 1.05));
    map.zoomBy(6);
    found["moving, close by"] = await frames((n) => map.panBy(20 * Math.sin(n / 10), 12 * Math.cos(n / 10)));
    map.fit();
    const { width, height } = map.frame();
    const corner = (k) => [width / 2 + (width / 3) * Math.cos(k / 80), height / 2 + (height / 3) * Math.sin(k / 80)];
    const start = performance.now();
    const held = map.hands.held(Array.from({ length: 500 }, (_, k) => corner(k)).flat());
    found.lasso = { milliseconds: performance.now() - start, held: held.length };
    return found;
}"""


def frames(photos: int, ratio: int) -> None:
    """Move and zoom the map of generated places; print the frames."""
    import numpy as np
    from playwright.sync_api import Route, sync_playwright

    chance = np.random.default_rng(0)
    class_of = np.sort(chance.integers(0, CLASSES, photos))
    places = chance.normal(32768, 9000, (CLASSES, 2))[class_of] + chance.normal(0, 1500, (photos, 2))
    x, y = np.clip(places, 0, 65535).astype(int).T.tolist()
    reason = np.where(chance.random(photos) < 0.1, chance.integers(1, 11, photos), 0).tolist()
    nothing = [0] * photos
    facts = {"class": class_of.tolist(), "reason": reason, "score": nothing, "verdict": nothing, "cluster": nothing}
    names = {"classes": [f"Class_{k}" for k in range(CLASSES)], "reasons": [{"name": name} for name in REASONS]}
    answers: dict[str, Any] = {
        "api/dataset": {"generation": 1, "count": photos, "waiting": 0, "views": [], "photos": facts, **names},
        "api/map": {"generation": 1, "method": "pca", "note": "", "photos": list(range(photos)), "x": x, "y": y},
    }

    def answer(route: Route) -> None:
        path = route.request.url.split("/", 3)[3].split("?")[0]
        if path in answers:
            route.fulfill(body=json.dumps(answers[path]), content_type="application/json")
        elif path:
            route.fulfill(path=PAGE / path)
        else:
            style = '<link rel="stylesheet" href="review.css"><link rel="stylesheet" href="map.css">'
            route.fulfill(body=f'<!doctype html>{style}<div id="map"></div>', content_type="text/html")

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1280, "height": 800}, device_scale_factor=ratio)
        page.route("http://127.0.0.1:9/**", answer)
        page.goto("http://127.0.0.1:9/")
        found = page.evaluate(FRAMES)
        chromium.close()
    lasso = found.pop("lasso")
    print(f"{photos:,} photos, {ratio} device pixels a CSS pixel")
    for what, took in found.items():
        print(f"| {what} | {took['second']:.0f} frames/s | 95 % within {took['slow']:.0f} ms | 1 in {took['stride']} |")
    print(f"| lasso of 500 corners | {lasso['milliseconds']:.0f} ms | {lasso['held']:,} photos |")


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("places", "frames", "measure"))
    parser.add_argument("--photos", type=int, default=250_000)
    parser.add_argument("--method", default="pca")
    parser.add_argument("--ratio", type=int, default=1)
    parser.add_argument("--folder", default="")
    options = parser.parse_args()
    if options.what == "measure":
        measure(options.folder, options.method)
    elif options.what == "frames":
        frames(options.photos, options.ratio)
    else:
        with tempfile.TemporaryDirectory() as folder:
            make(Dataset(folder), options.photos)
            command = [sys.executable, "-m", "benchmarks.review_map", "measure", "--method", options.method]
            subprocess.run([*command, "--folder", folder], check=True)


if __name__ == "__main__":
    main()
