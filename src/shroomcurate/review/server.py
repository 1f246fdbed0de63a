"""The page over HTTP, for this machine alone.

Whoever does not know the token in the path gets nothing, and neither does a page of another site that sends the browser
here: the request must be addressed to loopback and, where the browser says which site it comes from, come from this
one. Photos are asked for by number, so that no part of a URL is ever a path.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from shroomcurate.errors import BadOption, NothingMatches, ShroomError
from shroomcurate.photos import NotAPhoto
from shroomcurate.review.state import OutOfDate, State
from shroomcurate.review.views import Filter

if TYPE_CHECKING:
    import asyncio

    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_PICTURES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif"}
_LARGEST = 16 << 20  # bytes of a request: a verdict on a million photos
_HEARTBEAT = 15.0  # seconds; a page that is gone is noticed when it is written to

_AGAIN = "Load the page again."
_NUMBER = "{number:[0-9]{1,9}}"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_app(state: State, token: str, origins: Mapping[str, str]) -> web.Application:
    """Return the application.

    Parameters
    ----------
    origins
        Host header -> the origin that it belongs to; filled in once the port is known.
    """
    from aiohttp import web

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = _refused(request, token, origins) or await handler(request)
        except web.HTTPException as error:
            response = _error(error.status, error.reason, "Type: shroomcurate review")
        except Exception as error:
            request.app.logger.exception("A bug")
            response = _error(500, f"A bug: {error!r}", "The terminal shows where. Type: shroomcurate review")
        if not response.prepared:
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    app = web.Application(middlewares=[guard], client_max_size=_LARGEST)
    base = f"/{token}/"
    page = _Page(state)
    app.router.add_get(base, page.file)
    for name in page.files:
        app.router.add_get(base + name, page.file)
    app.router.add_get(base + "api/dataset", _answered(page.dataset))
    app.router.add_get(base + "api/view", _answered(page.view))
    app.router.add_get(base + "api/photo/" + _NUMBER, _answered(page.detail))
    app.router.add_get(base + "api/map", _answered(page.map))
    app.router.add_get(base + "api/events", page.events)
    app.router.add_get(base + "thumbnail/" + _NUMBER, page.thumbnail)
    app.router.add_get(base + "photo/" + _NUMBER, page.photo)
    app.router.add_post(base + "api/verdicts", _answered(page.decide))
    app.router.add_post(base + "api/undo", _answered(page.undo))
    app.router.add_post(base + "api/apply", _answered(page.apply))
    app.on_shutdown.append(page.leave)
    return app


def _refused(request: web.Request, token: str, origins: Mapping[str, str]) -> web.Response | None:
    """Return the answer to a request that must not be answered; None when it may be."""
    host = request.headers.get("Host", "")
    if host not in origins:
        return _error(403, f"{host!r} is not this server.", "Open the address that shroomcurate review printed.")
    origin = request.headers.get("Origin")
    if origin is not None and origin != origins[host]:
        return _error(403, "Another site has sent this request.", "Open the address that shroomcurate review printed.")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not _is_click(request):
        return _error(403, "Another site has sent this request.", "Open the address that shroomcurate review printed.")
    given = request.raw_path.split("/")[1] if "/" in request.raw_path else ""
    if not hmac.compare_digest(given.encode(errors="replace"), token.encode()):
        return _error(403, "The token is missing or wrong.", "Open the address that shroomcurate review printed.")
    if request.method == "POST" and request.content_type != "application/json":
        return _error(415, "A verdict is sent as JSON.", "Set Content-Type: application/json.")
    return None


def _is_click(request: web.Request) -> bool:
    """Whether somebody has followed a link here, as from a terminal in a browser; what is embedded elsewhere is not."""
    asked = (request.method, request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest"))
    return asked == ("GET", "navigate", "document")


def _answered(handler: Callable[[web.Request], Awaitable[dict[str, Any]]]) -> Handler:
    """Turn what a handler returns into JSON, and what it raises into an error that says what to do."""
    from aiohttp import web

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            found = await handler(request)
        except ShroomError as error:
            status = 400 if isinstance(error, BadOption) else 404 if isinstance(error, NothingMatches) else 500
            return _error(status, error.what, error.hint)
        except OutOfDate:
            return _error(409, "The photos have changed meanwhile.", _AGAIN)
        except IndexError:
            return _error(404, "There is no such photo.", _AGAIN)
        except OSError as error:
            return _error(500, f"{error.filename}: {error.strerror}.", "Look who may read and write there.")
        except (TypeError, ValueError, LookupError, RecursionError) as error:
            return _error(400, f"Not understood: {error!r}", _AGAIN)
        status = 202 if found.get("state") == "running" else 200
        return web.json_response(
            found, status=status, dumps=lambda value: json.dumps(value, separators=(",", ":"), default=str)
        )

    return answer


def _error(status: int, what: str, hint: str) -> web.Response:
    from aiohttp import web

    return web.json_response({"error": status, "what": what, "hint": hint}, status=status)


def _number(request: web.Request) -> int:
    return int(request.match_info["number"])


def _generation(request: web.Request) -> int | None:
    """Return the generation that an address names; None when it names none."""
    given = request.query.get("g", "")
    if not given:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) < 20):
        raise OutOfDate
    return int(given)


def _who(asked: Mapping[str, Any]) -> tuple[int, str, str]:
    """Return the generation, the tab and the step, which may be left away, of a request that writes."""
    generation, tab, step = asked["generation"], asked["tab"], asked.get("step", "")
    if type(generation) is not int:
        raise ValueError("generation is no number")
    if not isinstance(tab, str) or not tab:
        raise ValueError("tab is no name")
    if not isinstance(step, str):
        raise ValueError("step is no name")
    return generation, tab[:64], step[:64]


def _ending(name: str) -> str:
    return name.rpartition(".")[2]


class _Page:
    """What answers each address."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.leaving = False
        folder = resources.files("shroomcurate.review").joinpath("page")
        self.files = {each.name: each.read_bytes() for each in folder.iterdir() if _ending(each.name) in _KINDS}

    async def file(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        name = request.path.rsplit("/", 1)[1] or "index.html"
        kind = _KINDS[_ending(name)]
        return web.Response(body=self.files[name], content_type=kind, charset="utf-8")

    async def dataset(self, _request: web.Request) -> dict[str, Any]:
        return await self.state.about()

    async def view(self, request: web.Request) -> dict[str, Any]:
        asked = request.query
        names = {"class": "class_name", "reason": "reason", "licence": "licence", "decided": "decided", "text": "text"}
        return await self.state.view(
            asked.get("name", ""), Filter(**{field: asked[name] for name, field in names.items() if asked.get(name)})
        )

    async def map(self, request: web.Request) -> dict[str, Any]:
        return await self.state.map(request.query.get("method", "pca"))

    async def detail(self, request: web.Request) -> dict[str, Any]:
        return await self.state.detail(_number(request))

    async def decide(self, request: web.Request) -> dict[str, Any]:
        asked = await request.json()
        numbers = asked["photos"]
        if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("photos is no list of numbers")
        return await self.state.decide(*_who(asked), numbers, asked["verdict"], asked.get("reason"))

    async def undo(self, request: web.Request) -> dict[str, Any]:
        return await self.state.undo(*_who(await request.json()))

    async def apply(self, _request: web.Request) -> dict[str, Any]:
        self.state.apply()
        return {"state": "running"}

    async def thumbnail(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        try:
            known = [each.value for each in request.if_none_match or ()]
            tag, picture = await self.state.thumbnail(_number(request), _generation(request), known)
        except OutOfDate:
            return _error(409, "The photos have changed meanwhile.", _AGAIN)
        except (IndexError, OSError, NotAPhoto) as error:
            return _error(404, f"There is no such picture: {error}", "")
        # The browser keeps it, and asks each time whether it still is the one: a photo can be replaced on disk.
        headers = {"Cache-Control": "private, no-cache", "ETag": f'"{tag}"'}
        if tag in known:
            return web.Response(status=304, headers=headers)
        return web.Response(body=picture, content_type="image/jpeg", headers=headers)

    async def photo(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        try:
            name, content = await self.state.photo(_number(request), _generation(request))
        except OutOfDate:
            return _error(409, "The photos have changed meanwhile.", _AGAIN)
        except (IndexError, OSError) as error:
            return _error(404, f"There is no such photo: {error}", "")
        kind = _PICTURES.get(_ending(name).lower())
        if kind is None:
            return _error(404, "Its name is not that of a photo.", "")
        return web.Response(body=content, content_type=kind)

    async def events(self, request: web.Request) -> web.StreamResponse:
        import asyncio

        from aiohttp import web

        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.state.pages.add(queue)
        try:
            await response.write(b": open\n\n")
            while not self.leaving:
                try:
                    message = await asyncio.wait_for(queue.get(), _HEARTBEAT)
                except TimeoutError:
                    message = ": still here\n\n"
                await response.write(message.encode())
            return response
        except (ConnectionError, asyncio.CancelledError):
            return response
        finally:
            self.state.pages.discard(queue)

    async def leave(self, _app: web.Application) -> None:
        """End the streams of the pages, for which ^C would wait in vain."""
        self.leaving = True
        for queue in self.state.pages:
            queue.put_nowait("")
