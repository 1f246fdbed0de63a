"""Whether there is room for a catalogue, judged before its rows are written."""

from __future__ import annotations

import shutil
from pathlib import Path

from shroomcurate.errors import DiskFull

#: Bytes that one kept observation takes in PostgreSQL, indexes included: its row 140, 1.7 photos of 165 each, 0.6
#: observers of 90, its share of the taxa. As measured by benchmarks/load.py, with the default filter and without.
_BYTES_PER_OBSERVATION = 500

#: Indexes are sorted on disk, and a first block is no perfect sample.
_MARGIN = 1.3


def refuse_without_room(folder: Path, observations: float) -> None:
    """Refuse a load that cannot end well.

    Parameters
    ----------
    folder
        Where the database lies.
    observations
        How many will be kept, as the table's first rows let expect.

    Raises
    ------
    DiskFull
        The disk has less room than they will take. The old catalogue stays until the new one is complete, so its
        room does not count.
    """
    needed = observations * _BYTES_PER_OBSERVATION * _MARGIN
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(
            f"The catalogue needs about {needed / 1e9:.3f} GB in {folder}, and {free / 1e9:.3f} GB are free: some "
            f"{observations:,.0f} observations will be kept. Nothing was loaded.",
            "Make room, set SHROOMCURATE_HOME to a folder on another disk, or keep less (--taxon, --quality): "
            "the old catalogue is unharmed.",
        )
