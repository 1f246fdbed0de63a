"""The five commands in a row on real photographs, from a local static server, against the truth about each photo.

Run: ``python -m benchmarks.real_pipeline SHARED`` where SHARED holds ``inat-mini`` and ``weights``. Prints the table
of the README. ``tests/test_real_pipeline.py`` runs the same and asserts what must hold.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shroomcurate.dataset import Dataset
from shroomcurate.demo.score import CleaningScore, score_cleaning
from shroomcurate.demo.server import serve_photos

#: What `truth.csv` says of how a photo is served, and the status that a download must give it.
STATUS_OF = {"served": "ok", "gone": "gone", "truncated": "corrupt", "empty": "corrupt"}


@dataclass
class Outcome:
    """What the commands printed (as JSON), how long they took, and how cleaning compares with the truth."""

    dataset: Dataset
    score: CleaningScore | None = None
    results: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    expected: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    mismatches: list[int] = field(default_factory=list)


def run_pipeline(shared: Path, folder: Path) -> Outcome:
    """Run load-csvs, query, download, clean and train-baseline with the user's options."""
    mini = shared / "inat-mini"
    outcome = Outcome(Dataset(folder / "dataset"))
    environment = {
        **os.environ,
        "SHROOMCURATE_HOME": str(folder / "home"),
        "SHROOMCURATE_DATASET": str(outcome.dataset.root),
        "SHROOMCURATE_WEIGHTS": str(shared / "weights"),
    }
    environment.pop("SHROOMCURATE_DATABASE_URL", None)
    with serve_photos(mini) as url:
        for words in (
            ["load-csvs", str(mini)],
            ["query", "--species", "4", "--per-class", "200"],
            ["download", "--base-url", url],
            ["clean", "--eps", "0.3"],
            ["train-baseline", "--mode", "probe"],
        ):
            started = time.monotonic()
            ended = subprocess.run(
                [sys.executable, "-m", "shroomcurate", *words, "--json"],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if ended.returncode:
                raise SystemExit(f"{' '.join(words)} ended with {ended.returncode}: {ended.stderr}")
            outcome.seconds[words[0]] = time.monotonic() - started
            outcome.results[words[0]] = json.loads(ended.stdout)
    _account(outcome, mini / "truth.csv")
    outcome.score = score_cleaning(outcome.dataset, mini / "truth.csv")
    return outcome


def _account(outcome: Outcome, truth_csv: Path) -> None:
    with truth_csv.open(encoding="utf-8") as handle:
        states = {int(row["photo_id"]): row["state"] for row in csv.DictReader(handle)}
    for row in outcome.dataset.frame("downloads.parquet").itertuples():
        expected = STATUS_OF[states[row.photo_id]]
        outcome.expected[expected] += 1
        outcome.found[row.status] += 1
        if row.status != expected:
            outcome.mismatches.append(row.photo_id)


def table(outcome: Outcome) -> str:
    """Return the README's table."""
    results = outcome.results
    photos, downloaded = results["load-csvs"]["tables"]["photos"], results["download"]["statuses"]
    baseline = results["train-baseline"]
    gain = baseline["raw_vs_clean"]["difference"]["top1"]
    removed = f"{results['clean']['reasons'].get('duplicate', 0)} near-duplicates besides"
    accuracy = f"top-1 {baseline['top1']:.3f}, macro F1 {baseline['macro_f1']:.3f}"
    interval = f"95 % interval {gain['low']:+.3f} to {gain['high']:+.3f}"
    what = {
        "load-csvs": f"{photos['read']:,} photo rows read, {photos['kept']:,} kept",
        "query": f"{len(results['query']['classes'])} classes, {results['query']['wanted']} photos wanted",
        "download": ", ".join(f"{count} {status}" for status, count in sorted(downloaded.items()) if count),
        "clean": f"{_against_truth(outcome.score)}; {removed}",
        "train-baseline": f"{accuracy}; cleaning brings {gain['difference']:+.3f} top-1 ({interval})",
    }
    rows = [f"| `{name}` | {result} | {outcome.seconds[name]:.0f} s |" for name, result in what.items()]
    return "\n".join(["| command | result | time |", "|---|---|---|", *rows])


def _against_truth(score: CleaningScore | None) -> str:
    if score is None:
        return "not scored"
    shares = f"precision {score.precision:.2f}, recall {score.recall:.2f}"
    return f"F1 {score.f1:.2f} against {score.noise} planted pictures ({shares})"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)  # the embedded PostgreSQL runs as another user when root runs this
        print(table(run_pipeline(Path(sys.argv[1]).resolve(), Path(scratch))))
