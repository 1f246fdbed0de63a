"""Pages of the API, kept on disk as soon as they come, so that none is asked for twice.

A page is the answer to one request, cut down to the fields that a dump has. It lies in a file named by the request, is
written by one rename, and a file that is torn, damaged or of another request is asked for again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shroomcurate.catalogue.api_client import Api, BrokenPage
from shroomcurate.catalogue.api_rows import is_id
from shroomcurate.dataset import write_bytes
from shroomcurate.progress import Progress

#: Raised when other fields are kept of a page, so that pages of before are asked for again.
_FORMAT = 2

_OBSERVATION = (
    "id", "uuid", "updated_at", "quality_grade", "observed_on", "location", "geojson", "public_positional_accuracy",
    "spam", "flags",
)  # fmt: skip
_PHOTO = ("id", "license_code", "url", "original_dimensions", "hidden", "flags")
_USER = ("id", "login", "name", "spam", "suspended")
_TAXON = (
    "id", "name", "rank", "rank_level", "ancestor_ids", "is_active", "iconic_taxon_name",
    "current_synonymous_taxon_ids",
)  # fmt: skip


class Pages:
    """The pages of one API in one folder."""

    def __init__(self, folder: Path, api: Api, progress: Progress, expected: int) -> None:
        self.folder = folder
        self.api = api
        self.progress = progress
        self.expected = expected
        """Pages that will be needed, as far as is known; for the progress alone."""
        self.there = 0
        self.oldest: float | None = None
        """When the oldest page that was there had come, in seconds since 1970."""

    async def get(self, series: str, path: str, parameters: Mapping[str, str], keep: Callable[[Any], Any]) -> Any:
        """Return a page from disk, or ask for it and keep it.

        Parameters
        ----------
        series
            What the page belongs to, such as ``observations-48715-150``: the name of its folder. Pages of another
            series are never used, though their request be the same.
        keep
            Cuts the answer down; raises :class:`BrokenPage` when it is not of the API's shape.
        """
        request = [_FORMAT, self.api.url, series, path, dict(sorted(parameters.items()))]
        name = hashlib.sha256(json.dumps(request).encode()).hexdigest()[:24]
        file = self.folder / series / f"{name}.json.gz"
        page = _read(file, request)
        if page is None:
            page = await self.api.get(path, parameters, keep)
            content = json.dumps({"request": request, "page": page}, sort_keys=True, separators=(",", ":"))
            write_bytes(file, gzip.compress(content.encode(), 6, mtime=0))
        else:
            self.there += 1
            came = file.stat().st_mtime
            self.oldest = min(came, self.oldest or came)
        self.progress(self.done, max(self.done + 1, self.expected), "ask the API")
        return page

    @property
    def done(self) -> int:
        """Requests made, and pages that needed none."""
        return self.there + self.api.requests


def _read(file: Path, request: list[Any]) -> Any:
    """Return a page, or None where there is none or not a whole one."""
    try:
        kept = json.loads(gzip.decompress(file.read_bytes()))
    except (FileNotFoundError, EOFError, gzip.BadGzipFile, zlib.error, ValueError):
        return None
    return kept.get("page") if isinstance(kept, dict) and kept.get("request") == request else None


# -- cutting down ------------------------------------------------------------------------------------------------


def keep_observations(content: Any, above: int) -> dict[str, Any]:
    """Return the observations of an answer with an id greater than ``above``, and whether more are to come.

    Raises
    ------
    BrokenPage
        The answer has not the API's shape, is not in the order that was asked for, or is the page before again.
    """
    raw = _results(content)
    observations = [_keep_observation(each) for each in raw]
    ids = [observation["id"] for observation in observations]
    if ids != sorted(ids):
        raise BrokenPage("its observations are not in the order of their ids")
    if ids and ids[-1] <= above:
        raise BrokenPage("it is the page before once more")
    return {
        "observations": [observation for observation in observations if observation["id"] > above],
        "more": len(raw) < content["total_results"],
    }


def keep_taxa(content: Any) -> list[dict[str, Any]]:
    """Return the taxa of an answer."""
    return [_keep_taxon(each) for each in _results(content)]


def keep_counts(content: Any) -> list[dict[str, Any]]:
    """Return taxa with the ``count`` of their observations, of an answer of species_counts."""
    return [{**_keep_taxon(each.get("taxon")), "count": _whole(each.get("count"))} for each in _results(content)]


def _results(content: Any) -> list[dict[str, Any]]:
    if not isinstance(content, dict) or not isinstance(content.get("total_results"), int):
        raise BrokenPage("its JSON is not an answer of the API: there is no total_results")
    results = content.get("results")
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise BrokenPage("its JSON is not an answer of the API: there are no results")
    return results


def _keep_observation(raw: dict[str, Any]) -> dict[str, Any]:
    photos = raw.get("photos")
    return {
        **_fields(raw, _OBSERVATION),
        "id": _whole(raw.get("id")),
        "taxon": _taxon_or_none(raw.get("taxon")),
        "user": _fields(_object(raw.get("user")), _USER),
        "photos": [_fields(_object(photo), _PHOTO) for photo in (photos if isinstance(photos, list) else [])],
    }


def _taxon_or_none(raw: Any) -> dict[str, Any] | None:
    """Return an observation's taxon; None when it has none or an odd one: the other observations are not at fault."""
    try:
        return _keep_taxon(raw) if _object(raw) else None
    except BrokenPage:
        return None


def _keep_taxon(raw: Any) -> dict[str, Any]:
    taxon = _fields(_object(raw), _TAXON)
    line = taxon.get("ancestor_ids") or []
    if not isinstance(line, list):
        raise BrokenPage("a taxon of it has no line of ancestors")
    taxon_id = _whole(taxon.get("id"))
    # A search gives the taxon itself as the last of them, a look-up by id does not.
    return {**taxon, "id": taxon_id, "ancestor_ids": [_whole(each) for each in line if each != taxon_id]}


def _fields(raw: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: raw[name] for name in names if raw.get(name) is not None}


def _object(raw: Any) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else {}


def _whole(value: Any) -> int:
    if not is_id(value):
        raise BrokenPage(f"it holds {value!r} where an id or a count belongs")
    return int(value)
