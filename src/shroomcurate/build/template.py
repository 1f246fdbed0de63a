"""The ``shroomcurate.toml`` that `init` writes: every option with its help and its default, commented out."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

from shroomcurate.cli.keys import Key, common, keys
from shroomcurate.dataset import write_bytes
from shroomcurate.errors import BadOption

_WIDTH = 100

#: What stands above each table, and whether the table is there or has to be uncommented.
_TABLES = {
    "load-csvs": ("The catalogue, from the dump that `shroomcurate fetch-dumps` fetches.", True),
    "load-api": ("Instead of the dump: some species from the API. Delete [load-csvs] then.", False),
    "query": ("Which photos.", True),
    "download": ("How they are fetched.", True),
    "clean": ("What is taken out. `build` fetches others from the reserve, until N clean ones are there.", True),
    "train-baseline": ("What the dataset is worth. Runs where the table is there.", False),
    "report": ("One page about it, report.html. Runs where the table is there.", False),
    "export": ("The dataset in another form. Runs where the table is there.", False),
}
_HEAD = """\
# What `shroomcurate build` makes. Paths are relative to this file.
# A line that begins with # and a name is an option with its default: take the # away and write what you like.
# An empty text, "", is the same as no line.
# A whole file can be as short as this:
#
#   [load-csvs]
#   [query]
#   species = 20
#   per-class = 100
"""


def write_template(file: Path) -> None:
    """Write the file.

    Raises
    ------
    BadOption
        Something is there.
    """
    if file.exists() or file.is_symlink():
        raise BadOption(f"{file} is there already.", "Name another file, or move it away: it is never overwritten.")
    write_bytes(file, template().encode())


def template() -> str:
    """Return what the file holds."""
    parts = [_HEAD, *(_option(key) for key in common().values())]
    for name, options in keys().items():
        what, there = _TABLES[name]
        parts.append(f"\n# {what}\n{'' if there else '#'}[{name}]\n")
        parts += map(_option, options.values())
    return "\n".join(parts)


def _option(key: Key) -> str:
    return "\n".join([*_comment(key.help), f"#{key.name} = {_default(key)}\n"])


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _default(key: Key) -> str:
    if key.default is None:
        return "[]" if key.several else '""'
    return json.dumps(str(key.default) if isinstance(key.default, Path) else key.default)
