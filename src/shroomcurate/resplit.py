"""The split that an export needs: made where there is none, made again where it is out of date."""

from __future__ import annotations

from collections.abc import Callable

from shroomcurate.dataset import Dataset
from shroomcurate.export import split_state
from shroomcurate.progress import Progress, silent
from shroomcurate.split import SplitOptions, options_before, split


def split_if_due(
    dataset: Dataset,
    options: SplitOptions | None = None,
    progress: Progress = silent,
    tell: Callable[[str, SplitOptions], None] = lambda *_: None,
) -> str | None:
    """Make the split where there is none, or make it again where it is out of date.

    Parameters
    ----------
    options
        Those of the new split; None: those of the split that is there, or the usual ones.
    tell
        Called before it is made, with how the split stood: ``missing`` or ``stale``.

    Returns
    -------
    How the split stood where it was made; None where it is current.
    """
    dataset.require_photos()
    state = split_state(dataset)
    if state == "current":
        return None
    options = options or options_before(dataset)
    tell(state, options)
    split(dataset, options, progress)
    return state
