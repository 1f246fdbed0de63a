"""Requests for photos, over curl's connections: each ends as an answer, never as an exception."""

from __future__ import annotations

import io
import math
import os
import re
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shroomcurate.transport import (
    HEADERS,
    USER_AGENT,
    Answer,
    Patience,
    is_this_machine,
    meaning,
    redirect_target,
    unusable_proxy,
)

if TYPE_CHECKING:
    import pycurl

MAX_BYTES = 32 * 2**20  # the bucket's largest photos, 2048 x 2048 pixels as PNG, stay under 16 MiB
_PIECE = 2**16  # bytes of a body that are handed on at a time
_LAST_WAIT = 1.0  # seconds for closing connections
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


class Connections:
    """curl's connections to one server, kept open: a request takes two thirds of aiohttp's time, a tenth of httpx's.

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

        _find_its_own_libcurl()
        import pycurl

        self.multi = pycurl.AsyncCurlMulti()
        self.idle: list[pycurl.Curl] = []
        trusted = os.fsencode(os.environ.get("SSL_CERT_FILE") or certifi.where())
        self.settings = {
            pycurl.USERAGENT: USER_AGENT,
            pycurl.HTTPHEADER: [f"{name}: {value}" for name, value in HEADERS.items()],
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,  # the bucket speaks no other
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.PROXY: _proxy(base_url) or "",
            pycurl.NOPROXY: "",
            pycurl.CAINFO: trusted,
            pycurl.PROXY_CAINFO: trusted,
            pycurl.MAXFILESIZE: MAX_BYTES,
            pycurl.BUFFERSIZE: _PIECE,
            pycurl.CONNECTTIMEOUT_MS: _at_most(1000 * patience.connect),
            pycurl.TIMEOUT_MS: _at_most(1000 * patience.whole),
            pycurl.LOW_SPEED_LIMIT: 1,  # bytes a second
            pycurl.LOW_SPEED_TIME: _at_most(patience.silence),
            pycurl.NOSIGNAL: 1,  # the event loop may run in any thread
        }
        if folder := os.environ.get("SSL_CERT_DIR"):
            self.settings |= dict.fromkeys((pycurl.CAPATH, pycurl.PROXY_CAPATH), os.fsencode(folder))

    async def ask(self, url: str, method: str = "GET") -> Answer:
        """Ask once."""
        import pycurl

        curl, body = self.idle.pop() if self.idle else self._new(), io.BytesIO()
        try:
            curl.setopt(pycurl.URL, _ascii(url))
            curl.setopt(pycurl.HTTPGET if method == "GET" else pycurl.NOBODY, 1)
            curl.setopt(pycurl.WRITEFUNCTION, body.write)
            await self.multi.perform(curl)
            answer = _heard(curl, url, method, body.getvalue())
        except pycurl.error as error:
            answer = _trouble(curl, url, method, error.args[0])
        except ValueError:
            answer = Answer("failed", error="no valid address")
        body.close()  # a handle that waits for its next use shall not hold a photo
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


def _find_its_own_libcurl() -> None:
    """Import pycurl so that it finds the libcurl it brings: TensorFlow, if it came first, shows an older one to all."""
    deep = getattr(os, "RTLD_DEEPBIND", 0)  # other systems than Linux look there first anyway
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | deep)
    try:
        import pycurl  # noqa: F401
    finally:
        sys.setdlopenflags(flags)


def _at_most(time: float) -> int:
    """Return whole seconds, or milliseconds, as curl counts them: 0 means no limit, more than 31 bits are refused."""
    return math.ceil(min(time, 2**31 - 1))


def _ascii(url: str) -> bytes:
    """Return an address as it is sent. Raises ValueError."""
    if url.isascii() and " " not in url:
        return url.encode()
    import httpx

    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError from error
    user = parts.userinfo + b"@" if parts.userinfo else b""
    return parts.raw_scheme + b"://" + user + parts.netloc + parts.raw_path


def _proxy(url: str) -> bytes | None:
    """Return the proxy that the environment names for an address. Raises BadOption when it cannot be one."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if is_this_machine(url) or proxy_bypass(parts.netloc):
        return None
    named = getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    if proxy is None:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts, spelt = urlsplit(proxy), _ascii(proxy)
        usable = parts.scheme in _PROXY_SCHEMES and parts.hostname and parts.port != 0 and not re.search(r"\s", proxy)
    except ValueError:
        usable = False
    if not usable:  # in other words than the parser's, which quotes the password
        raise unusable_proxy(ValueError(f"it is no address that begins with {'://, '.join(_PROXY_SCHEMES)}://."))
    return spelt


def _heard(curl: pycurl.Curl, url: str, method: str, body: bytes) -> Answer:
    """Return what an answer says that came to its end."""
    import pycurl

    status = curl.getinfo(pycurl.RESPONSE_CODE)
    kind = meaning(status)
    if kind == "ok":
        if method == "GET" and not body and curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T) < 0:
            return Answer("retry", error="the connection broke off")  # amid the headers, or just behind them
        return Answer("ok", status, body=body)
    if kind == "redirect":
        target = redirect_target(curl.getinfo(pycurl.EFFECTIVE_URL), curl.getinfo(pycurl.REDIRECT_URL) or "")
        if target is None:
            return Answer("failed", status, "redirected to another server")
        target = urlsplit(target)._replace(netloc=urlsplit(url).netloc).geturl()  # curl leaves user and password away
        return Answer("redirect", status, "redirected too often", target=target)
    return Answer(
        kind,
        status,
        f"the server answered {status}",
        retry_after=curl.getinfo(pycurl.RETRY_AFTER) or None,
        overloaded=status in {429, 503},
    )


def _trouble(curl: pycurl.Curl, url: str, method: str, code: int) -> Answer:
    """Return what the end of a request says that brought no answer, or not all of it."""
    import pycurl

    if code == pycurl.E_URL_MALFORMAT:
        return Answer("failed", error="no valid address")
    if code == pycurl.E_FILESIZE_EXCEEDED:
        if method == "GET" and meaning(curl.getinfo(pycurl.RESPONSE_CODE)) == "ok":
            return Answer("corrupt", 200, f"more than {MAX_BYTES:,} bytes")
        return _heard(curl, url, method, b"")
    if reason := _no_connection(curl, code):
        return Answer("unreachable", error=f"no connection ({reason})")
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return Answer("retry", error="timed out", overloaded=True)
    no_http = code in {pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_FTP_WEIRD_SERVER_REPLY}
    return Answer("retry", error="the answer was no HTTP" if no_http else "the connection broke off")


def _no_connection(curl: pycurl.Curl, code: int) -> str | None:
    """Return why no connection stood; None when one did."""
    import pycurl

    if code == pycurl.E_COULDNT_CONNECT:  # perhaps for the second time, where a connection was lost that had been kept
        number = curl.getinfo(pycurl.OS_ERRNO)
        return os.strerror(number) if number else curl.errstr()
    if code == pycurl.E_COULDNT_RESOLVE_PROXY:  # curl may quote it with its password
        return "the proxy's name cannot be resolved"
    could_not_send = code == pycurl.E_COULDNT_RESOLVE_HOST or not curl.getinfo(pycurl.REQUEST_SIZE)
    return curl.errstr() if could_not_send else None
