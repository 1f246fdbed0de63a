"""One HTTP request for a photo, and every decision about its answer.

Nothing here knows datasets. A request ends as an :class:`Answer`, never as an exception, and always ends: connecting,
silence and the whole of it have a limit each.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from shroomcurate import __version__
from shroomcurate.errors import BadOption, NetworkDown

if TYPE_CHECKING:
    import httpx

USER_AGENT = f"shroomcurate/{__version__} (python-httpx)"
MAX_BYTES = 32 * 2**20  # the bucket's largest photos, 2048 x 2048 pixels as PNG, stay under 16 MiB
MAX_NOTICE = 2**16  # an error page is read as far as this, so that its connection can be used again
MAX_PAUSE = 60.0  # seconds; longer than a server's SlowDown, short enough for a person to wait
FIRST_REQUESTS = 4  # at a time: S3 answers 503 to sudden ramps
PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")  # environment variables, also in small letters
ENOUGH, FEW = 50, 10  # photos of which not one came: on the way, and when that is all there was to ask
LINE_PATIENCE = 60.0  # seconds that a line which has worked may be down: a router restarts in less


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
        return target if urlsplit(target)[:2] == urlsplit(url)[:2] else None
    except ValueError:
        return None


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


def unreachable(base_url: str, last_error: str | None, requests: int) -> NetworkDown:
    """Return what to raise when the line is dead."""
    return NetworkDown(
        f"{base_url} cannot be reached: {last_error}; {requests} requests made.",
        "Check the network, or name a mirror with --base-url, then type the same command again: "
        "what is finished is kept.",
    )


def nothing_there(url: str, errors: Sequence[str]) -> NetworkDown:
    """Return what to raise when a server answers and yet not one photo comes: an example, how each of them ended."""
    [(error, count)] = Counter(errors).most_common(1)
    ended = "all ended like this" if count == len(errors) else f"came to nothing, {count} of them like this"
    return NetworkDown(
        f"Nothing is at {url}: the first {len(errors)} photos {ended}: {error}.",
        "Check --base-url, below which photos/<photo_id>/<size>.<ext> must lie, and that the server is well; "
        "then type the same command again: none of these photos counts as gone.",
    )


class Line:
    """How many requests at a time the server bears, and whether it can be reached at all.

    Like TCP: one more per answer at first, halved when the server is overloaded, then one more per round.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed = float(min(FIRST_REQUESTS, most))
        self.slowed_at: float | None = None
        self.contact_at: float | None = None

    def hear(self, answer: Answer, now: float) -> None:
        """Take note of an answer that came at ``now`` (seconds on any steady clock)."""
        if answer.kind == "unreachable":
            return
        self.contact_at = now
        if not answer.overloaded:
            self.allowed = min(self.most, self.allowed + (1.0 if self.slowed_at is None else 1.0 / self.allowed))
        elif self.slowed_at is None or now - self.slowed_at > 1.0:  # one burst of refusals counts once
            self.allowed = max(1.0, self.allowed / 2)
            self.slowed_at = now

    def is_dead(self, given_up: int, now: float) -> bool:
        """Return whether to stop, after ``given_up`` photos in a row for which no connection ever stood."""
        return given_up >= 2 * int(self.allowed) and self.is_silent(now)

    def is_silent(self, now: float) -> bool:
        """Return whether there never was a connection, or none for so long that none will come."""
        return self.contact_at is None or now - self.contact_at > LINE_PATIENCE


# -- acts ------------------------------------------------------------------------------------------------------


def open_client(base_url: str, concurrency: int, connect_timeout: float, read_timeout: float) -> httpx.AsyncClient:
    """Return the HTTP client that all requests of a run share. Redirects are ours to judge, so it follows none.

    Raises
    ------
    BadOption
        The environment names a proxy that cannot be used.
    """
    import httpx

    try:
        return httpx.AsyncClient(
            headers={"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"},
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
    """Return what to raise when httpx refuses to start: the environment names a proxy that it cannot use."""
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


async def request(client: httpx.AsyncClient, url: str, whole_timeout: float) -> Answer:
    """Ask once, within ``whole_timeout`` seconds."""
    import asyncio

    import httpx

    try:
        async with asyncio.timeout(whole_timeout), client.stream("GET", url) as response:
            return await _read(response)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        return Answer("unreachable", error=f"no connection ({error or type(error).__name__})")
    except (TimeoutError, httpx.TimeoutException):
        return Answer("retry", error="timed out", overloaded=True)
    except httpx.TransportError:
        return Answer("retry", error="the connection broke off")
    except httpx.InvalidURL:
        return Answer("failed", error="no valid address")


async def _read(response: httpx.Response) -> Answer:
    status = response.status_code
    kind = meaning(status)
    body = await _read_at_most(response, MAX_BYTES if kind == "ok" else MAX_NOTICE)
    if kind == "ok":
        if body is None:
            return Answer("corrupt", status, f"more than {MAX_BYTES:,} bytes")
        return Answer("ok", status, body=body)
    if kind == "redirect":
        target = redirect_target(str(response.url), response.headers.get("location", ""))
        if target is None:
            return Answer("failed", status, "redirected to another server")
        return Answer("redirect", status, "redirected too often", target=target)
    return Answer(
        kind,
        status,
        f"the server answered {status}",
        retry_after=retry_after_seconds(response.headers.get("retry-after"), datetime.now(UTC)),
        overloaded=status in {429, 503},
    )


async def _read_at_most(response: httpx.Response, most: int) -> bytes | None:
    """Return the body as sent, or None when it is longer than ``most`` bytes. A short body raises in httpx."""
    length = response.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > most:
        return None
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


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
