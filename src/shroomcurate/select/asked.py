"""What a selection was asked for, so that it can be told whether the same is asked for again, without a database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from shroomcurate.names_file import read_names
from shroomcurate.select.excluded import excluded_photos
from shroomcurate.select.options import QueryOptions
from shroomcurate.select.templates import chosen_template


def asked(options: QueryOptions) -> dict[str, Any]:
    """Return the options as the receipt of a selection holds them; of files what is in them, not where they lie.

    Raises
    ------
    BadOption
        A file is not there, or not what it should be.
    """
    names = None if options.names is None else _hashed(each.text for each in read_names(options.names, "--names"))
    excluded = excluded_photos(options.exclude)
    template = chosen_template(options.template, names=options.names is not None)
    return {
        **asdict(options),
        "taxa": sorted(options.taxa),
        "names": names,
        "exclude": None if excluded is None else _hashed(map(str, excluded)),
        "template": _hashed([template.text]),
    }


def _hashed(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
