"""What an answer about a photo means, and what asking for photos and asking the API have in common.

Nothing here knows datasets. A request ends as an :class:`Answer`, never as an exception, and always ends: connecting,
silence and the whole of it have a limit each.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from shroomcurate import __version__
from shroomcurate.errors import BadOption

if TYPE_CHECKING:
    import httpx

USER_AGENT = f"shroomcurate/{__version__}"
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity"}
MAX_PAUSE = 60.0  # seconds; longer than a server's SlowDown, short enough for a person to wait
PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")  # environment variables, also in small letters


class Patience(NamedTuple):
    """Seconds that a request may take; each part has its limit, so that every request ends."""

    connect: float
    """Until a connection stands."""
    silence: float
    """Without one byte: whole seconds, and up to seven more when some have come already."""
    whole: float
    """From start to end: ends servers that drip."""


class Answer(NamedTuple):
    """How one request ended."""

    kind: str
    """What :func:`meaning` says; or corrupt (too large), or unreachable (no connection: the photo is not at fault)."""
    http_status: int | None = None
    error: str | None = None
    body: bytes = b""
    retry_after: float | None = None
    """Seconds, as the server asked."""
    target: str | None = None
    """Where a redirect leads."""
    overloaded: bool = False
    number: int = 0
    """Of the answers that a run has heard, which this is: 1 is the first."""


# -- decisions -------------------------------------------------------------------------------------------------


def meaning(http_status: int) -> str:
    """Return what an HTTP status says about a photo: ok, gone, redirect, retry or failed.

    The bucket answers 403 and 404 for a photo that was withdrawn; S3 answers 503 to too many requests.
    """
    if http_status == 200:
        return "ok"
    if http_status in {403, 404, 410}:
        return "gone"
    if http_status in {301, 302, 303, 307, 308}:
        return "redirect"
    if http_status in {408, 429} or 500 <= http_status <= 599:
        return "retry"
    return "failed"


def is_web_address(url: str) -> bool:
    """Tell whether requests can be made below this address: its host must also be one that name servers can hear."""
    import httpx

    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is out of range
        host = httpx.URL(url).raw_host.decode("ascii")
        httpx.URL(url).host.encode("idna")  # httpx decodes it, the operating system's resolver encodes it
        host.encode("idna")
    except (ValueError, httpx.InvalidURL):
        return False
    return bool(parts.scheme in {"http", "https"} and host and not parts.query and not parts.fragment)


def photo_url(base_url: str, photo_id: int, size: str, extension: str) -> str:
    """Return where the bucket, or a mirror of it, has a photo."""
    return f"{base_url.rstrip('/')}/photos/{photo_id}/{size}.{quote(extension, safe='')}"


def redirect_target(url: str, location: str) -> str | None:
    """Return where a redirect leads, or None when that is off the server that was asked."""
    try:
        target = urljoin(url, location)
        return target if _server(target) == _server(url) else None
    except ValueError:
        return None


def _server(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host in small letters, and port: what makes two addresses the same server's."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def pause_before(attempt: int, backoff: float, retry_after: float | None, jitter: float) -> float:
    """Return the seconds to wait before request number ``attempt`` (2 is the first retry).

    Parameters
    ----------
    backoff
        Seconds before the first retry; doubles with each further one.
    retry_after
        Seconds the server asked for; at least these are waited, but never more than a minute.
    jitter
        In [0, 1): spreads the requests of many workers over the upper half of the pause.
    """
    pause: float = min(backoff * 2.0 ** (attempt - 2), MAX_PAUSE) * (0.5 + jitter / 2)
    return min(max(pause, retry_after or 0.0), MAX_PAUSE)


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for; None when it is absent or makes no sense (RFC 9110)."""
    if value is None:
        return None
    if value.isascii() and value.strip().isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())
    except (ValueError, OverflowError):
        return None


# -- acts ------------------------------------------------------------------------------------------------------


def open_client(base_url: str, concurrency: int, connect_timeout: float, read_timeout: float) -> httpx.AsyncClient:
    """Return a client for few requests with decoded answers, such as an API's. Redirects are ours to judge.

    Raises
    ------
    BadOption
        The environment names a proxy that cannot be used.
    """
    import httpx

    try:
        return httpx.AsyncClient(
            headers={"User-Agent": USER_AGENT, **HEADERS},
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            timeout=httpx.Timeout(read_timeout, connect=connect_timeout, pool=None),
            follow_redirects=False,
            trust_env=not is_this_machine(base_url),
        )
    except (httpx.InvalidURL, ImportError, ValueError) as error:
        raise unusable_proxy(error) from error


def is_this_machine(url: str) -> bool:
    """Tell whether an address is on this machine, which no proxy leads to."""
    return urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}


def unusable_proxy(error: Exception) -> BadOption:
    """Return what to raise when the environment names a proxy that cannot be used."""
    named = [name for each in PROXIES for name in (each, each.lower()) if os.environ.get(name)]
    return BadOption(
        f"The proxy that {' or '.join(named) or 'the system'} names cannot be used: {error}",
        "A SOCKS proxy needs one more package: pip install 'httpx[socks]'"
        if isinstance(error, ImportError)
        else f"Set it to an address like http://host:3128, or type: unset {' '.join(named) or 'ALL_PROXY'}",
    )


async def sleep(seconds: float) -> None:
    """Wait, and load the event loop's module only then: ``--help`` need not."""
    import asyncio

    await asyncio.sleep(seconds)


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a thread of its own, so also under a notebook's event loop; ^C cancels it and waits for that.

    Unlike ``asyncio.run`` it does not wait for a name server that is silent.
    """
    import asyncio

    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    ended = threading.Event()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(task)
        except KeyboardInterrupt as interrupt:  # raised inside the loop, by a progress callable
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
            raised.append(interrupt)
        except BaseException as error:  # noqa: BLE001  # raised again where the work was asked for
            raised.append(error)
        finally:
            loop.close()
            ended.set()

    thread = threading.Thread(target=run, name="requests", daemon=True)
    try:
        thread.start()
        while not ended.wait(0.2):  # a signal that comes just before an endless wait is not seen until its end
            pass
    except KeyboardInterrupt:
        with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
            loop.call_soon_threadsafe(task.cancel)
        while thread.is_alive() and not ended.is_set():
            with contextlib.suppress(KeyboardInterrupt):  # impatience does not help
                ended.wait(0.2)
        raise
    if raised:
        raise raised[0]
