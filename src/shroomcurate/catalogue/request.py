"""What a load was asked for, so that it can be told without a server whether the same is asked for again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate.catalogue.note import read_note
from shroomcurate.catalogue.sources import find_dump
from shroomcurate.errors import SourceMissing

if TYPE_CHECKING:
    from shroomcurate.catalogue.api import ApiOptions
    from shroomcurate.catalogue.load import LoadOptions

_URL = ("http://", "https://")


def request_of(options: LoadOptions | ApiOptions) -> dict[str, str]:
    """Return what is to be kept, of what (local files by name, size and time, addresses as they are), and from where.

    Raises
    ------
    SourceMissing, BadDump, BadOption
        The dump is not there, or is none; or the list of species is none.
    """
    return {"options": _kept(options), "files": _files(options), "sources": _sources(options)}


def why_load(options: LoadOptions | ApiOptions, database_url: str | None) -> str | None:
    """Return why a load has to be asked for; None when its catalogue is there, as far as this machine's note tells.

    A dump that is not there any more is no reason: its catalogue is.

    Raises
    ------
    SourceMissing
        There is no dump where it is said to be, nor did the catalogue come from there.
    BadDump, BadOption
        As :func:`request_of`.
    """
    note = read_note(database_url)
    if note is None:
        return "nothing has been loaded from this machine"
    if _kept(options) != note.request.get("options"):
        return "the catalogue holds what other options asked for"
    try:
        return None if _files(options) == note.request.get("files") else "the dump is another one"
    except SourceMissing:
        if note.request.get("sources", _sources(options)) != _sources(options):
            raise
        return None


def _sources(options: LoadOptions | ApiOptions) -> str:
    from shroomcurate.catalogue.api import ApiOptions

    if isinstance(options, ApiOptions):
        return options.api_url
    return json.dumps([place if place.startswith(_URL) else str(Path(place).absolute()) for place in options.sources])


def _kept(options: LoadOptions | ApiOptions) -> str:
    from shroomcurate.catalogue.api import ApiOptions  # which imports this

    if isinstance(options, ApiOptions):
        wishes = sorted(wish.text for wish in options.wishes())
        return json.dumps([wishes, options.per_species, options.species])
    return json.dumps([options.asked, options.quality])


def _files(options: LoadOptions | ApiOptions) -> str:
    from shroomcurate.catalogue.api import ApiOptions

    if isinstance(options, ApiOptions):
        return options.api_url
    if any(source.startswith(_URL) for source in options.sources):
        return json.dumps(options.sources)
    return json.dumps([[file.name, file.bytes, file.stamp] for file in find_dump(options.sources, force=True).files])
