"""How to fetch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shroomcurate import transport
from shroomcurate.download.pace import read_rates
from shroomcurate.errors import BadOption

SIZES = ("original", "large", "medium", "small", "thumb", "square")


@dataclass(frozen=True)
class DownloadOptions:
    """How to fetch. Raises BadOption."""

    base_url: str = "https://inaturalist-open-data.s3.amazonaws.com"
    """Where ``photos/<photo_id>/<size>.<ext>`` lies: iNaturalist's bucket, or a mirror of it."""
    size: str = "medium"
    """500 pixels on the longer side: twice what MobileNet sees, 1/16 of the pixels of ``original``."""
    concurrency: int = 32
    """Requests at a time, at most: at 100 ms each, 300 photos a second; far below S3's limit of 5,500."""
    attempts: int = 4
    """Requests per photo: with the pauses between them they outlast a hiccup, not an outage."""
    connect_timeout: float = 10.0
    """Seconds until a connection stands."""
    read_timeout: float = 20.0
    """Seconds without one byte, whole ones; when some have come already, it takes up to seven more to notice."""
    photo_timeout: float = 120.0
    """Seconds for one request from start to end: ends servers that drip."""
    backoff: float = 0.5
    """Seconds before the second request; doubles with each further one, with jitter, up to a minute."""
    max_rate: tuple[str, ...] = ()
    """The most requests a second (``"20"``), the most bytes a second (``"2MB"``), or one of each."""
    retry_gone: bool = False
    """Ask again for photos that an earlier run found gone or corrupt, such as after a wrong ``base_url``."""
    verify: bool = False
    """Hash what is on disk again; a file that is not what came is fetched again."""
    ray: str | None = None
    """A Ray cluster whose nodes ask, see :func:`shroomcurate.ray_cluster.open_cluster`; None: this machine."""

    def __post_init__(self) -> None:
        if self.base_url != DownloadOptions.base_url and not transport.is_web_address(self.base_url):
            raise BadOption(f"--base-url {self.base_url!r} is no web address.", "It looks like https://host/folder")
        if self.size not in SIZES:
            raise BadOption(f"--size {self.size!r} does not exist.", f"It is one of {', '.join(SIZES)}.")
        for name, most in (("concurrency", 256), ("attempts", 20)):
            if not 1 <= getattr(self, name) <= most:
                raise BadOption(f"--{name} {getattr(self, name)} is out of range.", f"It lies in 1..{most}.")
        read_rates(self.max_rate)
        for name in ("connect_timeout", "read_timeout", "photo_timeout", "backoff"):
            if not 0 < getattr(self, name) < math.inf:
                value = f"{name.replace('_', '-')} {getattr(self, name)}"
                raise BadOption(f"--{value} is out of range.", "It is seconds, more than 0.")
