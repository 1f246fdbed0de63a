"""Plain ways to fetch what ``benchmarks.download`` fetches, with no check at all.

``python -m benchmarks.downloaders WAY URLS CONCURRENCY FOLDER``: a way, a file with an address a line, the requests at
a time, and where to write ``<photo_id>.jpg``. Each runs in a process of its own, as `shroomcurate download` does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

TIMEOUT = 60.0  # seconds: on loopback whatever takes longer is lost


def target(folder: Path, url: str) -> Path:
    """Return where a photo goes."""
    return folder / f"{url.rsplit('/', 2)[1]}.jpg"


async def by_httpx(urls: Iterator[str], concurrency: int, folder: Path) -> None:
    """One AsyncClient and as many tasks as requests at a time; a task a photo would make httpx slower still."""
    import httpx

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(limits=limits, timeout=TIMEOUT, trust_env=False) as client:

        async def work() -> None:
            for url in urls:
                response = await client.get(url)
                response.raise_for_status()
                target(folder, url).write_bytes(response.content)

        await asyncio.gather(*(work() for _ in range(concurrency)))


async def by_aiohttp(urls: Iterator[str], concurrency: int, folder: Path, *, write: bool = True) -> None:
    """One ClientSession, likewise."""
    import aiohttp

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        raise_for_status=True,
    ) as session:

        async def work() -> None:
            for url in urls:
                async with session.get(url) as response:
                    content = await response.read()
                if write:
                    target(folder, url).write_bytes(content)

        await asyncio.gather(*(work() for _ in range(concurrency)))


async def by_aiohttp_unwritten(urls: Iterator[str], concurrency: int, folder: Path) -> None:
    """Drop what comes: requests alone."""
    await by_aiohttp(urls, concurrency, folder, write=False)


WAYS: dict[str, Callable[[Iterator[str], int, Path], Coroutine[Any, Any, None]]] = {
    "httpx": by_httpx,
    "aiohttp": by_aiohttp,
    "aiohttp-unwritten": by_aiohttp_unwritten,
}


def main(way: str, urls: str, concurrency: str, folder: str) -> None:
    """Fetch."""
    with Path(urls).open() as lines:
        asyncio.run(WAYS[way]((line.rstrip() for line in lines), int(concurrency), Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
