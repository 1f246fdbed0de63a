"""How a stage tells how far it is: a plain callable, silent by default."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""``progress(done, total, label)``; total 0 means unknown. A new label starts a new bar."""


def silent(done: int, total: int, label: str) -> None:
    """Report nothing."""


def tqdm_progress() -> Progress:
    """Return a progress callable that draws tqdm bars, in a terminal or a notebook.

    Examples
    --------
    >>> from shroomcurate.dataset import Dataset
    >>> from shroomcurate.download import download
    >>> from shroomcurate.progress import tqdm_progress
    >>> download(Dataset("dataset"), progress=tqdm_progress())  # doctest: +SKIP
    """
    from tqdm.auto import tqdm

    bars: dict[str, tqdm] = {}

    def progress(done: int, total: int, label: str) -> None:
        if label not in bars:
            bars[label] = tqdm(total=total or None, desc=label)
        bar = bars[label]
        bar.total = total or None
        bar.update(done - bar.n)
        if total and done >= total:
            bar.close()
            del bars[label]

    return progress
