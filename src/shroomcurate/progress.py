"""How a stage tells how far it is: a plain callable, silent by default."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta

Progress = Callable[[int, int, str], None]
"""``progress(done, total, label)``; total 0 means unknown. A new label starts a new bar.

When the total is :class:`Bytes`, the bar also shows how many there are and the rate; when it is :class:`Noted`, the
rate and the note.
"""


class Bytes(int):
    """A number of bytes, which reads as a person says it: ``str(Bytes(19_600_000_000))`` is ``19.6 GB``."""

    def __str__(self) -> str:
        amount = float(self)
        for unit in ("B", "kB", "MB"):
            if amount < 1000:
                return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
            amount /= 1000
        return f"{amount:.1f} GB"


class Noted(int):
    """A number of things with a note on how they fare, such as ``Noted(800, "31.2 MB, 4 gone")``."""

    note: str

    def __new__(cls, number: int, note: str) -> Noted:
        """Make the number; the note is kept beside it."""
        made = super().__new__(cls, number)
        made.note = note
        return made


class Seconds(int):
    """A number of seconds, of work that is told by the clock; ``str(Seconds(65))`` is ``0:01:05``."""

    def __str__(self) -> str:
        return str(timedelta(seconds=int(self)))


def silent(done: int, total: int, label: str) -> None:
    """Report nothing."""


def chosen(wanted: Progress | bool | None) -> Progress:
    """Return the progress callable that a Python user asks for.

    Parameters
    ----------
    wanted
        True: bars. False: nothing. None: bars in a notebook, nothing elsewhere. A callable is that one.
    """
    if wanted is None:
        wanted = _in_notebook()
    if callable(wanted):
        return wanted
    return tqdm_progress() if wanted else silent


def _in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook; IPython in a terminal is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


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
    full: set[str] = set()

    def progress(done: int, total: int, label: str) -> None:
        if total and done >= total and label in full:
            return  # told again
        full.discard(label)
        if label not in bars:
            of_bytes = isinstance(total, Bytes)
            bars[label] = tqdm(total=total or None, desc=label, unit="B" if of_bytes else "it", unit_scale=of_bytes)
        bar = bars[label]
        bar.total = total or None
        if isinstance(total, Noted):
            bar.set_postfix_str(total.note, refresh=False)
        bar.update(done - bar.n)
        if total and done >= total:
            bar.close()
            del bars[label]
            full.add(label)

    return progress
