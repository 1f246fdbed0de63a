"""Dumps over HTTP: what lies at an address, and its raw bytes whatever the line does meanwhile.

The bytes are those that the server stores. The bucket marks its ``.csv.gz`` files ``Content-Encoding: gzip``; a client
that unpacks them breaks length, Range and checksum, so nothing here decodes.

A dump of 34 GB takes an hour or more, and nobody's line holds for so long. Each request therefore asks for the bytes
that are still missing, under the condition that the file is the one it was at first (Range with If-Range, RFC 9110).
A file that was replaced meanwhile ends the reading: a dump half from July and half from August is none.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urljoin, urlsplit

from shroomcurate.errors import BadDump, NetworkDown, SourceMissing
from shroomcurate.transport import (
    USER_AGENT,
    is_this_machine,
    is_web_address,
    meaning,
    pause_before,
    retry_after_seconds,
    unusable_proxy,
)

if TYPE_CHECKING:
    import httpx

#: Who cannot reach a server at all shall not wait two minutes to hear of it.
ATTEMPTS_TO_REACH = 3

_REDIRECTS = 5
_AGAIN = "Type the same command again: it begins with the file that is there now."


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to ask."""

    connect_timeout: float = 10.0
    """Seconds."""
    read_timeout: float = 30.0
    """Seconds without a byte. Then the connection is given up and a new one asks for the rest."""
    attempts: int = 8
    """Requests in a row that bring no byte: with their pauses some two minutes, in which a router restarts."""
    backoff: float = 1.0
    """Seconds before the second request; doubled before each further one, with jitter."""


@dataclass(frozen=True)
class Remote:
    """A file on a server."""

    url: str
    """As it was asked for; a redirect is followed anew with each request."""
    size: int
    """Bytes, as stored."""
    etag: str | None
    last_modified: str | None
    """As the server words it."""
    ranges: bool
    """Whether the server sends a part of the file on request, and can tell whether the file is still the same."""

    @property
    def modified(self) -> datetime | None:
        """When the file was put there, in UTC."""
        try:
            found = parsedate_to_datetime(self.last_modified or "")
        except (ValueError, OverflowError):
            return None
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)

    @property
    def validator(self) -> str | None:
        """What If-Range may hold: a strong ETag, else the date (RFC 9110, 13.1.5). None: no part can be trusted."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this file from the one that takes its place next month."""
        return {"size": self.size, "etag": self.etag, "last_modified": self.last_modified}


class Halted(Exception):
    """The reading was called off by its owner. Never reaches a user."""


class _Trouble(Exception):
    """One request came to nothing; the next may not."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


def describe(
    client: httpx.Client, url: str, patience: Patience = Patience(), halt: threading.Event | None = None
) -> Remote:
    """Ask what lies at an address, without fetching it.

    Raises
    ------
    SourceMissing
        The server says that it is not there, or not for us (403, 404, 410).
    NetworkDown
        No answer within the patience, or none that makes sense.
    """
    failures = _Failures(url, patience, halt or threading.Event())
    while True:
        try:
            with _named_troubles():
                with _asked(client, "HEAD", url, {}) as response:
                    known = _described(url, response) if response.status_code == 200 else None
                # A server may not know HEAD, or say more when it is asked for a byte.
                if known is None or not known.ranges:
                    with _asked(client, "GET", url, {"Range": "bytes=0-0"}) as response:
                        if not (known and response.status_code == 416):  # a file without any byte
                            known = _described(url, response)
                if known is None:
                    raise NetworkDown(
                        f"The server does not say how long {url} is.",
                        "So nobody can tell whether it is whole. Name another address.",
                    )
                return known
        except _Trouble as trouble:
            failures.again(trouble)


def read_range(
    client: httpx.Client, remote: Remote, first: int, stop: int, patience: Patience, halt: threading.Event
) -> Iterator[bytes]:
    """Yield the bytes ``first`` (counted from 0) to ``stop`` (not included) in chunks of up to 64 KiB.

    Asks again for what is missing when the connection breaks, stalls or the server fails. Ends only when every byte
    has been yielded.

    Parameters
    ----------
    halt
        Once it is set, the next chunk or pause raises :class:`Halted`.

    Raises
    ------
    BadDump
        The file is no longer the one that was described.
    SourceMissing
        It is gone.
    NetworkDown
        ``patience.attempts`` requests in a row brought nothing.
    """
    position = first
    failures = _Failures(remote.url, patience, halt)
    while position < stop:
        try:
            with (
                _named_troubles(),
                _asked(client, "GET", remote.url, _wanted(remote, position, stop)) as response,
            ):
                known = _known_before(response, remote, position)
                for chunk in response.iter_raw():
                    if halt.is_set():
                        raise Halted
                    new = chunk[known : known + stop - position]
                    known = max(0, known - len(chunk))
                    if new:
                        position += len(new)
                        failures.forget()
                        yield new
                    elif position == stop:  # the server sends more than was asked for
                        break
                if position < stop:
                    raise _Trouble("the answer was too short")
        except _Trouble as trouble:
            failures.again(trouble)


# -- asking ----------------------------------------------------------------------------------------------------


def open_client(url: str, connections: int, patience: Patience) -> httpx.Client:
    """Return the HTTP client for a server. Redirects are ours to judge, so it follows none.

    Raises
    ------
    BadOption
        The environment names a proxy that cannot be used.
    """
    import httpx

    try:
        return httpx.Client(
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            timeout=httpx.Timeout(patience.read_timeout, connect=patience.connect_timeout, pool=None),
            follow_redirects=False,
            trust_env=not is_this_machine(url),
        )
    except (httpx.InvalidURL, ImportError, ValueError) as error:
        raise unusable_proxy(error) from error


class _Failures:
    """Counts requests that brought nothing since the last byte, and waits longer after each."""

    def __init__(self, url: str, patience: Patience, halt: threading.Event) -> None:
        self.url, self.patience, self.halt = url, patience, halt
        self.count = 0

    def forget(self) -> None:
        self.count = 0

    def again(self, trouble: _Trouble) -> None:
        """Wait before the next request, or give up."""
        self.count += 1
        if self.count >= self.patience.attempts:
            raise NetworkDown(
                f"{self.url} cannot be read: {trouble}; asked {self.count} times in a row.",
                "Check the network and the address, then type the same command again: what is finished is kept.",
            ) from trouble
        jitter = random.random()  # noqa: S311  # no secret
        if self.halt.wait(pause_before(self.count + 1, self.patience.backoff, trouble.retry_after, jitter)):
            raise Halted


@contextmanager
def _named_troubles() -> Iterator[None]:
    import httpx

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _Trouble(f"no connection ({error or type(error).__name__})") from error
    except httpx.TimeoutException as error:
        raise _Trouble("the server fell silent") from error
    except httpx.TransportError as error:
        raise _Trouble("the connection broke off") from error


@contextmanager
def _asked(client: httpx.Client, method: str, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """Give the answer, after redirects, its body unread. Statuses that mean no answer raise."""
    target = url
    for _ in range(_REDIRECTS + 1):
        try:
            with client.stream(method, target, headers=headers) as response:
                kind = meaning(response.status_code)
                if kind == "redirect":
                    target = _redirected(target, response.headers.get("location", ""))
                    continue
                if kind == "retry" and response.status_code != 501:  # never will be
                    after = retry_after_seconds(response.headers.get("retry-after"), datetime.now(UTC))
                    raise _Trouble(f"the server answered {response.status_code}", after)
                if kind == "gone" and (method == "GET" or response.status_code != 403):
                    _refuse_missing(url, response.status_code)
                yield response
                return
        except UnicodeError as error:  # httpx looks at where a redirect leads, also when it does not follow it
            raise NetworkDown(
                f"{target} is redirected to an address with a host that cannot be: {error}.",
                "Name the address where the file itself lies.",
            ) from error
    raise NetworkDown(f"{url} is redirected more than {_REDIRECTS} times.", "Check the address.")


def _redirected(url: str, location: str) -> str:
    import httpx

    try:
        target = urljoin(url, location)
        httpx.URL(target)  # raises when no request can be made of it
        downgraded = urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https"
        # Unlike an address that a person gives, it may have a query: signed ones do.
        if location and is_web_address(urljoin(target, "/")) and not downgraded:
            return target
    except (ValueError, httpx.InvalidURL):
        pass
    raise NetworkDown(
        f"{url} is redirected to {location!r}, which is no {urlsplit(url).scheme} address.",
        "Name the address where the file itself lies.",
    )


def _refuse_missing(url: str, status: int) -> NoReturn:
    bundle = urlsplit(url).path.endswith(".tar.gz")
    own = "metadata/inaturalist-open-data-latest.tar.gz" if bundle else "taxa.csv.gz and the others beside it"
    raise SourceMissing(
        f"There is no {url}: the server answered {status}.",
        f"Check the address; iNaturalist's own lies at https://inaturalist-open-data.s3.amazonaws.com/{own}",
    )


# -- judging an answer -----------------------------------------------------------------------------------------


def _described(url: str, response: httpx.Response) -> Remote | None:
    """Return what the answer says of the file, None when it does not say its size.

    Raises
    ------
    NetworkDown
        It is no answer to the question.
    """
    if response.status_code not in {200, 206}:
        raise NetworkDown(f"{url}: the server answered {response.status_code}.", "Check the address.")
    headers = response.headers
    length = headers.get("content-length", "")
    _, total = _content_range(response)
    size = total if response.status_code == 206 else int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
    if size is None:
        return None
    found = Remote(url, size, headers.get("etag"), headers.get("last-modified"), ranges=False)
    served = response.status_code == 206 or headers.get("accept-ranges", "").lower() == "bytes"
    return Remote(url, size, found.etag, found.last_modified, ranges=served and found.validator is not None)


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Return the first byte's number and the file's size, None for what the answer does not say."""
    match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", response.headers.get("content-range", ""))
    if not match:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _wanted(remote: Remote, position: int, stop: int) -> dict[str, str]:
    if (position, stop) == (0, remote.size):
        return {}
    wanted = {"Range": f"bytes={position}-{stop - 1}"}
    return {**wanted, "If-Range": remote.validator} if remote.validator else wanted


def _known_before(response: httpx.Response, remote: Remote, position: int) -> int:
    """Return how many bytes of the body lie before ``position``: all of them when the server ignores Range.

    Raises
    ------
    BadDump
        The answer is about another file than ``remote``.
    """
    headers, status = response.headers, response.status_code
    if status == 206:
        begins, total = _content_range(response)
        if begins != position:
            raise BadDump(f"{remote.url}: asked for byte {position:,}, got {headers.get('content-range')!r}.", _AGAIN)
    elif status == 200:
        length = headers.get("content-length", "")
        total = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
    else:  # 416 above all: the file has become shorter
        raise _replaced(remote, f"the server answered {status}")
    if total is not None and total != remote.size:
        raise _replaced(remote, f"it had {remote.size:,} bytes and has {total:,}")
    for name, expected in (("etag", remote.etag), ("last-modified", remote.last_modified)):
        found = headers.get(name)
        if expected and found:
            if found != expected:
                raise _replaced(remote, f"its {name} was {expected} and is {found}")
            return position if status == 200 else 0
    if position:
        raise NetworkDown(
            f"{remote.url} broke off after {position:,} bytes, and the server names neither ETag nor date, so that "
            "nobody can tell whether the rest belongs to them.",
            "Type the same command again: it begins at the beginning.",
        )
    return 0


def _replaced(remote: Remote, how: str) -> BadDump:
    return BadDump(f"{remote.url} was replaced on the server while it was read: {how}.", _AGAIN)
