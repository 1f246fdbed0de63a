"""A list of taxa as people write it: a text file with a name or id a line."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from shroomcurate.errors import BadOption

_HINT = "Write a UTF-8 text file with a scientific name or taxon id a line; # begins a comment."


@dataclass(frozen=True)
class Entry:
    """A name or id of the list, and the line where it stands, counted from 1."""

    text: str
    line: int


def read_names(file: Path, option: str) -> list[Entry]:
    """Return the entries of a names file. Blank lines and what follows a ``#`` are comments.

    Parameters
    ----------
    option
        What named the file, such as ``--names``, for the messages.

    Raises
    ------
    BadOption
        Not there, not UTF-8, or without a name; the message names the line.
    """
    if not file.is_file():
        raise BadOption(f"{option}: there is no file {file}.", _HINT)
    content = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    entries = []
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            text = " ".join(line.decode("utf-8").split("#")[0].split())
        except UnicodeDecodeError as error:
            raise BadOption(f"{option} {file}, line {number} is not UTF-8 text: {error}", _HINT) from error
        if not text.isprintable():
            raise BadOption(f"{option} {file}, line {number} holds control characters: {text[:60]!r}", _HINT)
        if text:
            entries.append(Entry(unicodedata.normalize("NFC", text), number))
    if not entries:
        raise BadOption(f"{option} {file} holds no name.", _HINT)
    return entries
