"""Observations of the API as rows of a dump.

The columns are filled as the exporter of the dumps fills them (``lib/open_data_archive.js`` in
inaturalist/iNaturalistAPI), with two differences that the API leaves no way around: it does not give a photo's UUID, so
one is derived from its id; and it does not give a photo's owner, who is taken to be the observer.
"""

from __future__ import annotations

import math
import re
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

#: The API's spelling of the open licences -> the dump's.
LICENSES = {
    name.lower(): name
    for name in ("CC0", "PD", "CC-BY", "CC-BY-SA", "CC-BY-ND", "CC-BY-NC", "CC-BY-NC-SA", "CC-BY-NC-ND")
}

_BUCKET = "inaturalist-open-data"
_EXTENSIONS = {"jpg", "jpeg", "png", "gif"}
_MOST = 2**31 - 1  # what the catalogue's columns for metres and pixels hold
_UNSAFE = re.compile(r"[\t\n\r\0]+")

Row = dict[str, Any]


def photo_rows(observation: Mapping[str, Any]) -> tuple[list[Row], Counter[str]]:
    """Return the rows of ``photos`` that an observation gives, and why its other photos give none.

    Only photos with an open licence that lie in the open-data bucket have a row; ``position`` counts the former.
    """
    photos = observation["photos"]
    if reason := _unfit(observation):
        return [], Counter({reason: len(photos)})
    rows, left_out, position = [], Counter[str](), -1
    for photo in photos:
        license_name = LICENSES.get(str(photo.get("license_code") or "").lower())
        position += license_name is not None
        extension = bucket_extension(photo.get("url"), photo.get("id"))
        if license_name is None:
            left_out["no open licence"] += 1
        elif not is_id(photo.get("id")):
            left_out["photo without an id"] += 1
        elif photo.get("hidden") or _flagged(photo):
            left_out["hidden or flagged"] += 1
        elif extension is None:
            left_out["not in the open-data bucket"] += 1
        else:
            size = photo.get("original_dimensions")
            size = size if isinstance(size, dict) else {}
            rows.append(
                {
                    "photo_uuid": photo_uuid(photo["id"]),
                    "photo_id": photo["id"],
                    "observation_uuid": observation["uuid"],
                    "observer_id": observation["user"]["id"],
                    "extension": extension,
                    "license": license_name,
                    "width": _count(size.get("width")),
                    "height": _count(size.get("height")),
                    "position": position,
                }
            )
    return rows, left_out


def observation_row(observation: Mapping[str, Any]) -> Row:
    """Return the row of ``observations``. Coordinates are the public ones: obscured or blank where the API says so."""
    latitude, longitude = _coordinates(observation)
    return {
        "observation_uuid": observation["uuid"],
        "observer_id": observation["user"]["id"],
        "latitude": latitude,
        "longitude": longitude,
        "positional_accuracy": _count(observation.get("public_positional_accuracy")),
        "taxon_id": observation["taxon"]["id"],
        "quality_grade": observation["quality_grade"],
        "observed_on": _day(observation.get("observed_on")),
    }


def taxon_row(taxon: Mapping[str, Any]) -> Row:
    """Return the row of ``taxa``; the ancestry leaves the taxon itself out."""
    return {
        "taxon_id": taxon["id"],
        "ancestry": "/".join(map(str, taxon["ancestor_ids"])),
        "rank_level": _number(taxon.get("rank_level"), 1000),
        "rank": taxon.get("rank"),
        "name": taxon.get("name"),
        "active": "true" if taxon.get("is_active") is not False else "false",
    }


def observer_row(observation: Mapping[str, Any]) -> Row:
    """Return the row of ``observers``."""
    user = observation["user"]
    return {"observer_id": user["id"], "login": user.get("login"), "name": user.get("name")}


def photo_uuid(photo_id: int) -> str:
    """Return a UUID for a photo, always the same: version 5 of RFC 9562, of its page's address."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://www.inaturalist.org/photos/{photo_id}"))


def bucket_extension(url: object, photo_id: object) -> str | None:
    """Return a photo's file extension as written, or None when its address does not lie in the open-data bucket."""
    try:
        parts = urlsplit(str(url))
        host = parts.hostname or ""
    except ValueError:
        return None
    found = re.fullmatch(r".*/photos/([0-9]+)/[a-z]+\.([A-Za-z]+)", parts.path)
    if not found or found[1] != str(photo_id) or found[2].lower() not in _EXTENSIONS:
        return None
    in_path = parts.path.startswith(f"/{_BUCKET}/") and host.startswith("s3")
    return found[2] if in_path or host.split(".")[0] == _BUCKET else None


def _unfit(observation: Mapping[str, Any]) -> str | None:
    """Return why no photo of an observation is taken, whatever its licence."""
    user = observation["user"]
    if not is_id(user.get("id")) or not observation["taxon"] or not _is_uuid(observation.get("uuid")):
        return "observation without observer, taxon or uuid"
    if observation.get("quality_grade") != "research":
        return "observation not of research grade"
    if observation.get("spam") or user.get("spam") or user.get("suspended") or _flagged(observation):
        return "hidden or flagged"
    return None


def _flagged(item: Mapping[str, Any]) -> bool:
    flags = item.get("flags")
    flags = flags if isinstance(flags, list) else []
    return any(not (isinstance(flag, dict) and flag.get("resolved")) for flag in flags)


def is_id(value: object) -> bool:
    """Tell whether a value can be an id in a dump: a whole number of 16 digits at most."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**16


def _is_uuid(value: object) -> bool:
    return bool(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", str(value)))


def _coordinates(observation: Mapping[str, Any]) -> tuple[float | None, float | None]:
    parts: Any = str(observation.get("location") or "").split(",")
    if len(parts) != 2:
        point = observation.get("geojson")
        parts = point.get("coordinates") if isinstance(point, dict) else None
        parts = parts[::-1] if isinstance(parts, list) else []  # longitude stands first there
    if len(parts) != 2:
        return None, None
    latitude, longitude = _number(parts[0], 90), _number(parts[1], 180)
    return (None, None) if latitude is None or longitude is None else (latitude, longitude)


def _number(value: Any, most: float) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= most else None


def _count(value: Any) -> int | None:
    number = _number(value, _MOST)
    return None if number is None or number < 0 else round(number)


def _day(value: Any) -> str | None:
    try:
        day = date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
    # As in the dumps: days before 1800 are slips.
    return day.isoformat() if day > date(1800, 1, 1) else None


def dump_text(value: Any) -> str:
    """Return a value as a dump has it: the layout has no quoting, so that tabs and ends of lines become blanks."""
    return "" if value is None else _UNSAFE.sub(" ", str(value)).strip()
