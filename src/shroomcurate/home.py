"""Where the program keeps what belongs to the user rather than to one dataset."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def home() -> Path:
    """Return ``SHROOMCURATE_HOME``, ``~`` expanded, or the platform's folder for the user's data."""
    named = os.environ.get("SHROOMCURATE_HOME")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("shroomcurate")


def read_hint(name: str) -> dict[str, Any]:
    """Return what :func:`write_hint` kept under a name; nothing where that cannot be read."""
    with suppress(OSError, ValueError):
        facts = json.loads((home() / name).read_bytes())
        if isinstance(facts, dict):
            return facts
    return {}


def write_hint(name: str, facts: Mapping[str, Any]) -> None:
    """Keep what is a hint only: a killed process leaves the one before, and it is no loss when it cannot be written."""
    file = home() / name
    partial = file.with_name(f"{name}.partial")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(facts, indent=2), encoding="utf-8")
        partial.replace(file)
