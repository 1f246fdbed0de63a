"""A photo server on loopback that fails on purpose, by photo id. Not a test itself."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, cast

from PIL import Image

from tests.conftest import jpeg

HTML = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
THEN_OK = "-then-ok"


@lru_cache(maxsize=4096)
def photo_bytes(photo_id: int) -> bytes:
    """The whole photo that the server has under this id."""
    return jpeg(photo_id, hue=photo_id * 37)


class HeadOnly:
    """Writes an answer without its body."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    def write(self, words: bytes) -> None:
        head, end, _ = words.partition(b"\r\n\r\n")
        self.writer.write(head + end)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.writer, name)


class FaultServer:
    """Serves ``/photos/<id>/<size>.<ext>``.

    Parameters
    ----------
    faults
        photo id -> what goes wrong: a status ("404"), or a name in OTHER_BYTES, ANSWERS, LAST_WORDS or TROUBLES below.
        With "-then-ok" behind it, only the photo's first request goes wrong.
    delay
        Seconds before each answer.
    content
        The file behind a photo id and the last part of its address; None is a 404.
    bursts
        Numbers of requests that overload the server: for 0.1 seconds from there on, each photo is refused once.
    """

    def __init__(
        self,
        faults: dict[int, str] | None = None,
        delay: float = 0.0,
        content: Callable[[int, str], bytes | None] = lambda photo_id, _: photo_bytes(photo_id),
        bursts: frozenset[int] = frozenset(),
    ) -> None:
        self.faults = faults or {}
        self.delay = delay
        self.content = content
        self.bursts = bursts
        self.busy_until = 0.0
        self.refused: set[int] = set()
        self.requests: list[str] = []
        self.agents: set[str] = set()
        self.users: list[str] = []
        self.seen: Counter[int] = Counter()
        self.active = 0
        self.most_active = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.agents |= {line.lower() for line in head.split("\r\n") if line.lower().startswith("user-agent")}
                self.users += [line for line in head.split("\r\n") if line.startswith("Authorization")]
                path = head.split(" ")[1]
                self.requests.append(path)
                self.active += 1
                self.most_active = max(self.most_active, self.active)
                try:
                    await asyncio.sleep(self.delay)
                    to = cast("asyncio.StreamWriter", HeadOnly(writer)) if head.startswith("HEAD ") else writer
                    if not await self.answer(path, to):
                        break
                    await writer.drain()
                finally:
                    self.active -= 1
        with suppress(Exception):
            writer.close()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> bool:
        """Write one answer; False when the connection shall end."""
        number, name = path.split("/")[-2:]
        if not number.isdigit():
            writer.write(reply(404, b""))
            return True
        photo_id = int(number)
        if self.is_busy(photo_id):
            writer.write(reply(503, b"<Error><Code>SlowDown</Code></Error>"))
            return True
        self.seen[photo_id] += 1
        fault, body = self.faults.get(photo_id, "ok"), self.content(photo_id, name)
        if body is None:
            fault, body = "404", b""
        if fault.endswith(THEN_OK):
            fault = fault.removesuffix(THEN_OK) if self.seen[photo_id] == 1 else "ok"
        if fault in TROUBLES:
            return await TROUBLES[fault](writer, body)
        writer.write(self.words(fault, path, photo_id, body))
        return fault not in LAST_WORDS

    def is_busy(self, photo_id: int) -> bool:
        """Tell whether this request falls into a burst of refusals."""
        now = time.monotonic()
        if len(self.requests) in self.bursts:
            self.busy_until = now + 0.1
        if now > self.busy_until or photo_id in self.refused:
            return False
        self.refused.add(photo_id)
        return True

    def words(self, fault: str, path: str, photo_id: int, body: bytes) -> bytes:
        """The answer that is written at one go."""
        if fault.isdigit():
            return reply(int(fault), b"<Error/>")
        if fault in OTHER_BYTES:
            return reply(200, OTHER_BYTES[fault](body))
        if fault in ANSWERS:
            return ANSWERS[fault](body)
        if fault in LAST_WORDS:
            return LAST_WORDS[fault](body)
        locations = {
            "off-host": f"http://localhost:{self.port}/photos/1/medium.jpg",
            "on-host": f"/elsewhere/photos/{photo_id + 5_000_000}/medium.jpg",
            "loop": path,
            "ping-pong": path.removesuffix("?") if path.endswith("?") else path + "?",
            "to-bad-host": "http://[::bad",
            "to-spaced-host": "http://exa mple/",
            "to-user": f"http://127.0.0.1:{self.port}@localhost/photos/1/medium.jpg",
            "to-ftp": f"ftp://127.0.0.1:{self.port}/photos/1/medium.jpg",
            "to-file": "file:///etc/passwd",
            "to-bad-port": "http://127.0.0.1:99999999/",
            "to-control": "/photos/1\x01\x7f/medium.jpg",
            "to-afar": f"/{'x' * 70_000}/{photo_id}/medium.jpg",
            "to-nothing": "",
        }
        return reply(302, b"", f"Location: {locations[fault]}")


# -- 200, and the bytes are not those of a JPEG, or not all of them ----------------------------------------------


def other(kind: str, mode: str = "RGB", turned: bool = False, frames: int = 1) -> Callable[[bytes], bytes]:
    """Make a function that saves a photo in another way."""

    @lru_cache
    def saved(body: bytes) -> bytes:
        buffer = io.BytesIO()
        image = Image.open(io.BytesIO(body)).convert(mode)
        more = (
            {"save_all": True, "append_images": [image.rotate(90 * n) for n in range(1, frames)]} if frames > 1 else {}
        )
        exif = Image.Exif()
        if turned:
            exif[0x0112] = 6
            more["exif"] = exif
        image.save(buffer, kind, **more)
        return buffer.getvalue()

    return saved


png_bytes = other("PNG")


def bomb(_: bytes) -> bytes:
    """A PNG that says it has 3.6 billion pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + b"IHDR" + header + bytes(4)


OTHER_BYTES: dict[str, Callable[[bytes], bytes]] = {
    "ok": lambda body: body,
    "png": png_bytes,
    "gif": other("GIF", frames=3),
    "cmyk": other("JPEG", mode="CMYK"),
    "mpo": other("MPO", frames=2),
    "turned": other("JPEG", turned=True),
    "webp": other("WEBP"),
    "bmp": other("BMP"),
    "bomb": bomb,
    "truncated": lambda body: body[: len(body) // 2],
    "html": lambda _: HTML,
    "empty": lambda _: b"",
}


# -- answers in odd words ------------------------------------------------------------------------------------------


def reply(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: image/jpeg", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def with_length(length: object, body: bytes) -> bytes:
    """An answer whose Content-Length is another one."""
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + body


def chunked(body: bytes) -> bytes:
    """An answer in two chunks, without its end."""
    halves = body[: len(body) // 2], body[len(body) // 2 :]
    return CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STRAY = reply(200, jpeg(999_999, size=(16, 12)))  # a whole answer that nobody has asked for

#: The connection stays, and the next request may come over it.
ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: reply(200, b"\x1f\x8b" + body, "Content-Encoding: gzip"),
    "429-retry-after": lambda _: reply(429, b"", "Retry-After: 1"),
    "503-retry-after": lambda _: reply(503, b"SlowDown", "Retry-After: 1"),
    "503-retry-nonsense": lambda _: reply(503, b"SlowDown", "Retry-After: \x80soon"),
    "redirect-without-address": lambda _: reply(302, b""),
    "continue": lambda body: b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 103 Hints\r\n\r\n" + reply(200, body),
    "chunked": lambda body: chunked(body) + b"0\r\n\r\n",
    "clipped": lambda body: with_length(len(body) - 100, body),
    "surplus": lambda body: reply(200, body) + b"more than was said",
    "stray": lambda body: reply(200, body) + STRAY,
}

#: The connection ends behind these.
LAST_WORDS: dict[str, Callable[[bytes], bytes]] = {
    "closed": lambda _: b"",
    "short": lambda body: reply(200, body)[:-100],
    "headers-cut": lambda body: reply(200, body)[:30],
    "garbage": lambda _: bytes(range(256)) + b"\r\n\r\n",
    "bare": lambda body: body,
    "bad-status": lambda body: reply(200, body).replace(b"200", b"2x0", 1),
    "bad-header": lambda body: b"HTTP/1.1 200 OK\r\n\x00 no: header\r\n\r\n" + body,
    "bad-length": lambda body: with_length("many", body),
    "negative-length": lambda body: with_length(-len(body), body),
    "endless-length": lambda body: with_length("9" * 5000, body),
    "two-lengths": lambda body: with_length(f"{len(body)}\r\nContent-Length: {len(body) - 9}", body),
    "chunked-without-end": chunked,
    "chunked-garbage": lambda body: CHUNKED + b"zz\r\n" + body,
    "until-close": lambda body: b"HTTP/1.0 200 OK\r\n\r\n" + body,
    "until-close-cut": lambda body: b"HTTP/1.0 200 OK\r\n\r\n" + body[: len(body) // 2],
    "204-with-body": lambda body: reply(204, body),
    "206": lambda body: reply(206, body),
}


# -- what takes time -----------------------------------------------------------------------------------------------


async def drop_by_drop(writer: asyncio.StreamWriter, drops: bytes) -> bool:
    for drop in drops:
        writer.write(bytes([drop]))
        await writer.drain()
        await asyncio.sleep(0.2)
    return True


async def silent(writer: asyncio.StreamWriter, body: bytes) -> bool:
    await asyncio.sleep(60)
    return False


async def stall(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(reply(200, body)[: -len(body) // 2])
    await writer.drain()
    await asyncio.sleep(60)
    return False


async def drip(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(reply(200, body)[: -len(body)])
    return await drop_by_drop(writer, body)


async def drip_headers(writer: asyncio.StreamWriter, body: bytes) -> bool:
    return await drop_by_drop(writer, reply(200, body))


async def continue_without_end(writer: asyncio.StreamWriter, body: bytes) -> bool:
    while not writer.is_closing():
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
    return False


async def headers_without_end(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X-More: and more\r\n" * 1000)
        await writer.drain()
    return False


async def reset(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(reply(200, body)[:200])
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def huge(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(CHUNKED)
    while not writer.is_closing():
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()
    return False


async def huge_declared(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(with_length(99_999_999_999, b""))
    await writer.drain()
    await asyncio.sleep(60)
    return False


TROUBLES: dict[str, Callable[[asyncio.StreamWriter, bytes], Awaitable[bool]]] = {
    "silent": silent,
    "stall": stall,
    "drip": drip,
    "drip-headers": drip_headers,
    "continue-without-end": continue_without_end,
    "headers-without-end": headers_without_end,
    "reset": reset,
    "huge": huge,
    "huge-declared": huge_declared,
}


@contextmanager
def running(server: FaultServer, tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    """Run the server in a thread while the block lasts, over https if told so; at its end every connection breaks.

    A server that runs again keeps its port, like one that comes back.
    """
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(asyncio.CancelledError):  # which asyncio would report as an error of ours
            await server.serve(reader, writer)
        writers.discard(writer)

    async def main() -> None:
        listener = await asyncio.start_server(serve, "127.0.0.1", server.port, backlog=256, ssl=tls)
        server.port = listener.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        listener.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for writer in set(writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
