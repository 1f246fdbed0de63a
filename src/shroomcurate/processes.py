"""Python processes that run a function ``main`` of one of our modules, beside the process that started them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def own_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs ``main`` of a module of ours."""
    # With -P: what lies in the folder where somebody types the command is none of its modules.
    return (sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments)


def own_environment() -> dict[str, str]:
    """Return the environment in which such a process finds what this one has found, perhaps by the working folder."""
    ours = str(Path(__file__).resolve().parents[1])
    found = os.pathsep.join([*(path for path in sys.path if path), ours])
    return {**os.environ, "PYTHONPATH": found}
