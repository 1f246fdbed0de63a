"""How large, how fast and how hungry a LiteRT file is on this machine's processors.

Everything is measured in a fresh process of its own, which has loaded nothing but LiteRT: the memory of this process
and its threads have no part in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shroomcurate.processes import own_command, own_environment


@dataclass(frozen=True)
class SpeedOptions:
    """How long to measure."""

    runs: int = 200
    """Photos that count, one at a time; the 95th percentile of 200 hangs on 10 of them."""
    warm_up: int = 20
    """Photos before, while memory is first touched and the processor's clock rises."""
    seconds: float = 20.0
    """After which no further photo is begun, so that a large network is measured on fewer; at least five count."""


@dataclass(frozen=True)
class Speed:
    """Of one file with so many threads."""

    threads: int
    runs: int
    """Photos that were measured."""
    median_ms: float
    p95_ms: float
    memory_mb: float
    """Most resident memory (10^6 bytes) beyond that of the process with LiteRT loaded and no model."""


def measure_speed(model: Path, options: SpeedOptions = SpeedOptions()) -> dict[str, Any]:
    """Return the size of a LiteRT file, and its :class:`Speed` on one thread and on all cores.

    Returns
    -------
    dict
        ``size_mb`` (10^6 bytes), and ``one_thread`` and ``all_cores`` with the fields of :class:`Speed`.

    Raises
    ------
    RuntimeError
        LiteRT cannot run the file; with what it said.
    """
    all_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "size_mb": round(model.stat().st_size / 1e6, 3),
        "one_thread": _in_own_process(model, 1, options),
        "all_cores": _in_own_process(model, all_cores, options),
    }


def _in_own_process(model: Path, threads: int, options: SpeedOptions) -> dict[str, Any]:
    words = (str(model), str(threads), str(options.runs), str(options.warm_up), str(options.seconds))
    ended = subprocess.run(  # noqa: S603
        own_command(__name__, *words), env=own_environment(), capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"LiteRT cannot run {model}: {ended.stderr[-2000:]}")
    measured: dict[str, Any] = json.loads(ended.stdout)
    return measured


# -- in the process of its own ---------------------------------------------------------------------------------


def main() -> None:
    """Measure the file that the arguments name, and write a :class:`Speed` as JSON to standard output."""
    model, threads, runs, warm_up, seconds = sys.argv[1:]
    measured = _measure(model, int(threads), int(runs), int(warm_up), float(seconds))
    os.write(1, json.dumps(measured).encode())


def _measure(model: str, threads: int, runs: int, warm_up: int, seconds: float) -> dict[str, Any]:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    before = _most_memory()
    interpreter = Interpreter(model, num_threads=threads)
    interpreter.allocate_tensors()
    photo = interpreter.get_input_details()[0]
    noise = np.random.default_rng(0).integers(0, 256, photo["shape"]).astype(photo["dtype"])
    took: list[float] = []
    end = time.monotonic() + seconds
    for number in range(warm_up + runs):
        interpreter.set_tensor(photo["index"], noise)
        started = time.perf_counter()
        interpreter.invoke()
        took.append(1000 * (time.perf_counter() - started))
        if time.monotonic() > end and number >= 5:
            break
    counted = took[min(warm_up, len(took) - 5) :]
    return {
        "threads": threads,
        "runs": len(counted),
        "median_ms": round(float(np.median(counted)), 3),
        "p95_ms": round(float(np.percentile(counted, 95)), 3),
        "memory_mb": round((_most_memory() - before) / 1e6, 3),
    }


def _most_memory() -> int:
    """Return the most resident memory that this process ever had, in bytes.

    Linux' own counter starts anew with each program; ``getrusage`` would pass on that of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
