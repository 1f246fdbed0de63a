"""Time and memory of `export` and `verify`: 445 classes of 500 photos, of which cleaning has taken out a tenth.

Usage: python -m benchmarks.export [FOLDER] [CLASSES] [EACH] [FORMAT...]

The dataset is that of ``benchmarks.report``: photos of 500 by 375 pixels, links to a hundred of them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.download import elsewhere, run

FORMATS = ("coco", "croissant", "imagefolder")


def told(scratch: Path, *words: str | Path) -> list[str]:
    """Run one command of ours; return its seconds, those of processors, and its largest memory in MiB."""
    seconds, cpu, peak = run([sys.executable, "-m", "shroomcurate", *words, "--quiet"], scratch)
    return [f"{each:,.0f}" for each in (seconds, cpu, peak / 2**20)]


def measure(folder: Path, formats: tuple[str, ...]) -> None:
    """Export to each format beside the dataset, verify it, and print a line."""
    print("| format | seconds | of processors | MiB | `verify`: seconds | of processors | MiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in formats:
        out = folder.with_name(f"{folder.name}-{name}")
        links = ["--link", "hard"] if name == "imagefolder" else []
        written = told(folder.parent, "export", "--dataset", folder, "--format", name, "--out", out, "--force", *links)
        print(f"| {' | '.join([f'`{name}`', *written, *told(folder.parent, 'verify', out)])} |", flush=True)
        shutil.rmtree(out)


def main() -> None:
    """Make the dataset and measure."""
    words = sys.argv[1:]
    folder = Path(words[0] if words else tempfile.mkdtemp()) / "dataset"
    classes, each = (int(word) for word in (words[1:3] or ["445", "500"]))
    elsewhere(report.make, folder, classes, each)
    measure(folder, tuple(words[3:]) or FORMATS)


if __name__ == "__main__":
    main()
