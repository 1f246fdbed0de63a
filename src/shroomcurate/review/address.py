"""The address of a dataset's page, which is the same again after a restart: a page left open finds its server.

Kept with what belongs to the user, not in the dataset, which others may read: whoever knows the token can give
verdicts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import NamedTuple

from shroomcurate.dataset import Dataset
from shroomcurate.home import home

HOST = "127.0.0.1"

#: Seconds since the last start after which there is a new token: a night over.
_KEPT = 24 * 3600.0


class Address(NamedTuple):
    """Port of 127.0.0.1, and the token that stands in every path."""

    port: int
    token: str


def last_address(dataset: Dataset) -> Address:
    """Return the address of the last start; port 0 and 256 random bits when there was none for a day."""
    file = _file(dataset)
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        facts = file.stat()
        is_ours = facts.st_uid == os.getuid() and not facts.st_mode & 0o077  # or somebody else knows the token
        if is_ours and time.time() - facts.st_mtime < _KEPT:
            known = json.loads(file.read_bytes())
            port, token = int(known["port"]), str(known["token"])
            if 0 < port < 65_536 and len(token) >= 43 and token.replace("-", "").replace("_", "").isalnum():
                return Address(port, token)
    return Address(0, new_token())


def new_token() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def keep_address(dataset: Dataset, address: Address) -> None:
    """Keep an address for the next start, where only this user reads it. It is no loss when that cannot be done."""
    file = _file(dataset)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = file.with_name(f"{file.name}.{os.getpid()}")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "w", encoding="utf-8") as text:  # noqa: PTH123  # of a handle
            json.dump(address._asdict(), text)
        partial.replace(file)


def _file(dataset: Dataset) -> Path:
    name = hashlib.sha256(os.fsencode(dataset.images)).hexdigest()[:32]
    return home() / "review" / f"{name}.json"
