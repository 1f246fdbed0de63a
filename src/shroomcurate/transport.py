"""One HTTP request for a photo, and what its answer means.

Nothing here knows datasets. A request ends as an :class:`Answer`, never as an exception, and always ends: connecting,
silence and the whole of it have a limit each.
"""

from __future__ import annotations

import contextlib
import io
import math
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
    import pycurl

USER_AGENT = f"shroomcurate/{__version__}"
HEADERS = {"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"}
MAX_BYTES = 32 * 2**20  # the bucket's largest photos, 2048 x 2048 pixels as PNG, stay under 16 MiB
MAX_PAUSE = 60.0  # seconds; longer than a server's SlowDown, short enough for a person to wait
_PIECE = 2**16  # bytes of a body that are handed on at a time
_LAST_WAIT = 1.0  # seconds for closing connections
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")  # environment variables, also in small letters


class Patience(NamedTuple):
    """Seconds that a request may take; each part has its limit, so that every request ends."""

    connect: float
    """Until a connection stands."""
    silence: float
    """Without one byte."""
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


# -- acts ------------------------------------------------------------------------------------------------------


class Connections:
    """curl's connections to one server, kept open: a request costs a third of what aiohttp takes, a tenth of httpx's.

    Parameters
    ----------
    base_url
        Below which all is asked for; on this machine, no proxy is used.
    patience
        How long each request may take.

    Raises
    ------
    BadOption
        The environment names a proxy that cannot be used.
    """

    def __init__(self, base_url: str, patience: Patience) -> None:
        import certifi
        import pycurl

        self.multi = pycurl.AsyncCurlMulti()
        self.idle: list[pycurl.Curl] = []
        self.settings = {
            pycurl.HTTPHEADER: [f"{name}: {value}" for name, value in HEADERS.items()],
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,  # the bucket speaks no other
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.PROXY: _proxy(base_url) or "",
            pycurl.NOPROXY: "",
            pycurl.CAINFO: os.environ.get("SSL_CERT_FILE") or certifi.where(),
            **({pycurl.CAPATH: folder} if (folder := os.environ.get("SSL_CERT_DIR")) else {}),
            pycurl.MAXFILESIZE: MAX_BYTES,
            pycurl.BUFFERSIZE: _PIECE,
            pycurl.CONNECTTIMEOUT_MS: _at_most(1000 * patience.connect),
            pycurl.TIMEOUT_MS: _at_most(1000 * patience.whole),
            pycurl.LOW_SPEED_LIMIT: 1,  # bytes a second
            pycurl.LOW_SPEED_TIME: _at_most(patience.silence),
            pycurl.NOSIGNAL: 1,  # the event loop may run in any thread
        }

    async def ask(self, url: str, method: str = "GET") -> Answer:
        """Ask once."""
        import pycurl

        curl, body = self.idle.pop() if self.idle else self._new(), io.BytesIO()
        try:
            curl.setopt(pycurl.URL, _ascii(url))
            curl.setopt(pycurl.HTTPGET if method == "GET" else pycurl.NOBODY, 1)
            curl.setopt(pycurl.WRITEFUNCTION, body.write)
            await self.multi.perform(curl)
            answer = _heard(curl, body.getvalue())
        except pycurl.error as error:
            answer = _trouble(curl, error.args[0])
        except ValueError:
            answer = Answer("failed", error="no valid address")
        self.idle.append(curl)  # but not when cancelled: then it is still under way
        return answer

    def _new(self) -> pycurl.Curl:
        import pycurl

        curl = pycurl.Curl()
        for option, value in self.settings.items():
            curl.setopt(option, value)
        return curl

    async def aclose(self) -> None:
        """Close the connections; not waiting for a name server that is silent, as curl does."""
        import asyncio

        for asked in self.multi.futures():
            asked.cancel()
        closing = threading.Thread(target=lambda: asyncio.run(self.multi.aclose()), daemon=True)
        closing.start()
        closing.join(_LAST_WAIT)  # the event loop waits as well: what is closed is registered with it


def _at_most(time: float) -> int:
    """Return whole seconds, or milliseconds, as curl counts them: 0 means no limit, more than 31 bits are refused."""
    return min(math.ceil(time), 2**31 - 1)


def _ascii(url: str) -> bytes:
    """Return an address as it is sent. A host in other letters is curl's to spell."""
    if url.isascii() and " " not in url:
        return url.encode()
    parts = urlsplit(url)
    return parts._replace(path=quote(parts.path, safe="/%"), query=quote(parts.query, safe="=&%")).geturl().encode()


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for an address. Raises BadOption when it cannot be one."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if is_this_machine(url) or proxy_bypass(parts.netloc):
        return None
    named = getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    if proxy is None or "://" not in proxy:
        return proxy
    try:
        scheme, host = urlsplit(proxy).scheme, urlsplit(proxy).hostname
    except ValueError as error:
        raise unusable_proxy(error) from error
    if scheme not in _PROXY_SCHEMES or not host:
        raise unusable_proxy(ValueError(f"{proxy} is none of {', '.join(_PROXY_SCHEMES)}"))
    return proxy


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
            headers=HEADERS,
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


def _heard(curl: pycurl.Curl, body: bytes) -> Answer:
    """Return what an answer says that came to its end."""
    import pycurl

    status = curl.getinfo(pycurl.RESPONSE_CODE)
    kind = meaning(status)
    if kind == "ok":
        if not body and curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T) < 0:  # the end came amid the headers, or before
            return Answer("retry", error="the connection broke off")
        return Answer("ok", status, body=body)
    if kind == "redirect":
        target = redirect_target(curl.getinfo(pycurl.EFFECTIVE_URL), curl.getinfo(pycurl.REDIRECT_URL) or "")
        if target is None:
            return Answer("failed", status, "redirected to another server")
        return Answer("redirect", status, "redirected too often", target=target)
    return Answer(
        kind,
        status,
        f"the server answered {status}",
        retry_after=curl.getinfo(pycurl.RETRY_AFTER) or None,
        overloaded=status in {429, 503},
    )


def _trouble(curl: pycurl.Curl, code: int) -> Answer:
    """Return what the end of a request says that brought no answer, or not all of it."""
    import pycurl

    if code == pycurl.E_URL_MALFORMAT:
        return Answer("failed", error="no valid address")
    if code == pycurl.E_FILESIZE_EXCEEDED:
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        too_large = Answer("corrupt", status, f"more than {MAX_BYTES:,} bytes")
        return too_large if meaning(status) == "ok" else _heard(curl, b"")
    if not curl.getinfo(pycurl.REQUEST_SIZE):  # nothing could be sent
        number = curl.getinfo(pycurl.OS_ERRNO)
        return Answer("unreachable", error=f"no connection ({os.strerror(number) if number else curl.errstr()})")
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return Answer("retry", error="timed out", overloaded=True)
    if code in {pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_FTP_WEIRD_SERVER_REPLY}:
        return Answer("retry", error="the answer was no HTTP")
    return Answer("retry", error="the connection broke off")


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
