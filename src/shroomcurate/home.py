"""Where the program keeps what belongs to the user rather than to one dataset."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return ``SHROOMCURATE_HOME``, ``~`` expanded, or the platform's folder for the user's data."""
    named = os.environ.get("SHROOMCURATE_HOME")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("shroomcurate")
