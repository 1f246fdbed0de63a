"""Time and memory of `export` and `verify`: 445 classes of 500 photos, of which cleaning has taken out a tenth.

Usage: python -m benchmarks.export [FOLDER] [CLASSES] [EACH] [FORMAT...]

The dataset is that of ``benchmarks.report``: photos of 500 by 375 pixels, links to a hundred of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks import report

FORMATS = ("coco", "croissant", "imagefolder")


class Took(NamedTuple):
    """Seconds and those of processors of a command, and its largest memory in MiB."""

    seconds: float
    cpu: float
    peak: float


def run(*words: str | Path) -> Took:
    """Run one command of ours."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "shroomcurate", *words, "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {process.returncode}")
    return Took(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure(folder: Path, formats: tuple[str, ...]) -> None:
    """Export to each format beside the dataset, verify it, and print a line."""
    print("| format | seconds | of processors | MiB | `verify`: seconds | of processors | MiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in formats:
        out = folder.with_name(f"{folder.name}-{name}")
        links = ["--link", "hard"] if name == "imagefolder" else []
        of = [run("export", "--dataset", folder, "--format", name, "--out", out, "--force", *links), run("verify", out)]
        shutil.rmtree(out)
        print(f"| `{name}` | " + " | ".join(f"{each:,.0f}" for took in of for each in took) + " |", flush=True)


def main() -> None:
    """Make the dataset in a process of its own, whose memory would else be counted as this one's, and measure."""
    words = sys.argv[1:]
    folder = Path(words[0] if words else tempfile.mkdtemp()) / "dataset"
    classes, each = (int(word) for word in (words[1:3] or ["445", "500"]))
    maker = get_context("spawn").Process(target=report.make, args=(folder, classes, each))
    maker.start()
    maker.join()
    measure(folder, tuple(words[3:]) or FORMATS)


if __name__ == "__main__":
    main()
