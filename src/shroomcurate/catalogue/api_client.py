"""One request to the iNaturalist API, and every decision about its answer.

Polite by default: at most one request a second, a User-Agent that says who asks, Retry-After obeyed. A request ends as
what was kept of its answer or as a :class:`ShroomError`, and always ends: connecting, silence, the whole of it and the
number of attempts have a limit each.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from shroomcurate import __version__
from shroomcurate.errors import BadOption, NetworkDown, Refused
from shroomcurate.transport import is_web_address, open_client, pause_before, retry_after_seconds, sleep

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 256 * 2**20  # a page of 200 observations with long discussions has some 40 MB of JSON

#: Where there never was a connection, a person should not wait a minute to hear it.
_ATTEMPTS_TO_REACH = 3

_KEPT = "Type the same command again: pages that came are kept and not asked for again."

T = TypeVar("T")


@dataclass(frozen=True)
class Manners:
    """How patiently the API is asked. Its rules: about one request a second, at most 10,000 a day.

    Source: https://www.inaturalist.org/pages/api+recommended+practices
    """

    between: float = 1.0
    """Seconds from one request to the next, at least."""
    attempts: int = 6
    """Of one request; with the back-off below a minute and more, in which a server restarts."""
    backoff: float = 2.0
    """Seconds before the second attempt; doubles with each further one."""
    longest_wait: float = 300.0
    """Seconds the API may ask to wait; when it asks for more, the command ends and says so."""
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    whole_timeout: float = 300.0
    sleep: Callable[[float], Awaitable[None]] = sleep
    clock: Callable[[], float] = time.monotonic


POLITE = Manners()


class BrokenPage(Exception):
    """An answer that came whole and is not what was asked for; asked for again like a broken one."""


class _Answer(NamedTuple):
    """How one attempt ended: with its content, or with trouble."""

    content: Any = None
    trouble: str = ""
    retry_after: float | None = None
    """Seconds, as the server asked."""


class Api:
    """The API at one address, asked by one person.

    Parameters
    ----------
    url
        Such as ``https://api.inaturalist.org/v1``.
    contact
        An e-mail address or a web page that stands in the User-Agent, so that iNaturalist can write before it blocks.

    Raises
    ------
    BadOption
        The address is none, or the contact cannot stand in a header.
    """

    def __init__(self, url: str, contact: str | None, manners: Manners = POLITE) -> None:
        if not is_web_address(url):
            raise BadOption(f"--api-url {url!r} is no web address.", "Leave it away for https://api.inaturalist.org/v1")
        if contact is not None and not re.fullmatch(r"[!-'*-~]([ -'*-~]*[!-'*-~])?", contact):
            raise BadOption(
                f"--contact {contact!r} cannot stand in a header.",
                "Give an e-mail address or a web page, such as --contact you@example.org",
            )
        self.url = url.rstrip("/")
        self.agent = f"shroomcurate/{__version__}" + (f" ({contact})" if contact else "")
        self.manners = manners
        self.requests = 0
        self._asked_at: float | None = None
        self._reached = False

    async def __aenter__(self) -> Api:
        self._client = open_client(self.url, 1, self.manners.connect_timeout, self.manners.read_timeout)
        self._client.headers.update(
            {"User-Agent": self.agent, "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, parameters: Mapping[str, str], keep: Callable[[Any], T]) -> T:
        """Ask until a whole answer comes, and return what ``keep`` makes of it.

        Parameters
        ----------
        keep
            Takes the decoded JSON; raises :class:`BrokenPage` when it is not what was asked for.

        Raises
        ------
        Refused
            The API says that the request is wrong; asking again would not help.
        NetworkDown
            No whole answer came in all attempts, or the API asks to come back later.
        """
        answer = _Answer()
        for attempt in range(1, self.manners.attempts + 1):
            if attempt > 1:
                pause = pause_before(attempt, self.manners.backoff, None, random.random())  # noqa: S311
                await self.manners.sleep(max(pause, answer.retry_after or 0.0))
            await self._pace()
            answer = await self._ask(path, parameters, keep)
            if not answer.trouble:
                kept: T = answer.content
                return kept
            if not self._reached and attempt >= _ATTEMPTS_TO_REACH:
                break
            if (answer.retry_after or 0.0) > self.manners.longest_wait:
                raise NetworkDown(
                    f"{self.url} asks to wait {answer.retry_after:,.0f} seconds ({answer.trouble}).",
                    f"Too many requests came from your network. Wait that long. {_KEPT}",
                )
        raise NetworkDown(
            f"{self.url}/{path} gives no whole answer in {attempt} attempts; the last: {answer.trouble}.",
            f"Check the network, and --api-url if you gave one. {_KEPT}",
        )

    async def _pace(self) -> None:
        now = self.manners.clock()
        if self._asked_at is not None and now - self._asked_at < self.manners.between:
            await self.manners.sleep(self.manners.between - (now - self._asked_at))
        self._asked_at = self.manners.clock()

    async def _ask(self, path: str, parameters: Mapping[str, str], keep: Callable[[Any], Any]) -> _Answer:
        import asyncio

        import httpx

        self.requests += 1
        try:
            async with (
                asyncio.timeout(self.manners.whole_timeout),
                self._client.stream("GET", f"{self.url}/{path}", params=parameters) as response,
            ):
                self._reached = True
                body = await _read(response)
        except (TimeoutError, httpx.TimeoutException):
            return _Answer(trouble="it timed out")
        except httpx.TransportError as error:
            return _Answer(trouble=f"the connection failed ({error or type(error).__name__})")
        except UnicodeError as error:  # httpx looks at where a redirect leads, also when it does not follow it
            return _Answer(trouble=f"it leads to an address with a host that cannot be ({error})")
        except httpx.DecodingError:
            return _Answer(trouble="the answer cannot be unpacked")
        return _judged(response, body, keep)


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            break  # cut short, it is no JSON
    return bytes(body)


def _judged(response: httpx.Response, body: bytes, keep: Callable[[Any], Any]) -> _Answer:
    status = response.status_code
    if status in {408, 429} or status >= 500:
        asked = retry_after_seconds(response.headers.get("retry-after"), datetime.now(UTC))
        return _Answer(trouble=f"it answered {status}", retry_after=asked)
    if status != 200:
        raise _refused(response, body)
    try:
        return _Answer(keep(json.loads(body)))
    except BrokenPage as error:
        return _Answer(trouble=str(error))
    except (ValueError, RecursionError):
        return _Answer(trouble=f"the answer is not JSON: {_beginning(body)}")


def _refused(response: httpx.Response, body: bytes) -> Refused:
    where = f"{response.url} answered {response.status_code}"
    if response.is_redirect:
        target = response.headers.get("location", "nowhere")
        return Refused(f"{where}: it leads to {target}.", "Name the API's own address with --api-url.")
    return Refused(
        f"{where}: {_own_words(body) or _beginning(body)}",
        "The API will not answer this, however often it is asked. Check the options; when it says that you are "
        "blocked, give --contact and ask iNaturalist for help.",
    )


def _own_words(body: bytes) -> str:
    """Return the API's own error message: {"error": …} or {"errors": [{"message": …}]}."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    errors = content.get("errors") if isinstance(content, dict) else None
    if isinstance(errors, list):
        return "; ".join(str(error.get("message", error) if isinstance(error, dict) else error) for error in errors)
    error = content.get("error", "") if isinstance(content, dict) else ""
    return str(error.get("original", error) if isinstance(error, dict) else error)


def _beginning(body: bytes) -> str:
    text = " ".join(re.sub(r"<[^>]*>", " ", body[:2000].decode("utf-8", "replace")).split())
    return repr(text if len(text) <= 80 else text[:80] + "…")
