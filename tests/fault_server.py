"""A photo server on loopback that fails on purpose, by photo id. Not a test itself."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache

from PIL import Image

from tests.conftest import jpeg

HTML = b"<!DOCTYPE html><html><body>Please log in.</body></html>"


@lru_cache(maxsize=4096)
def photo_bytes(photo_id: int) -> bytes:
    """The whole photo that the server has under this id."""
    return jpeg(photo_id, hue=photo_id * 37)


def png_bytes(photo_id: int) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo_bytes(photo_id))).save(buffer, "PNG")
    return buffer.getvalue()


class FaultServer:
    """Serves ``/photos/<id>/<size>.<ext>``.

    Parameters
    ----------
    faults
        photo id -> what goes wrong: a status ("404"), "500-then-ok", "503-retry-after", "stall", "reset", "drip",
        "short", "truncated", "truncated-then-ok", "html", "empty", "png", "gzip", "huge", "huge-declared", "off-host",
        "on-host", "loop".
    delay
        Seconds before each answer.
    content
        The file behind a photo id and the last part of its address; None is a 404.
    """

    def __init__(
        self,
        faults: dict[int, str] | None = None,
        delay: float = 0.0,
        content: Callable[[int, str], bytes | None] = lambda photo_id, _: photo_bytes(photo_id),
    ) -> None:
        self.faults = faults or {}
        self.delay = delay
        self.content = content
        self.requests: list[str] = []
        self.agents: set[str] = set()
        self.seen: Counter[int] = Counter()
        self.active = 0
        self.most_active = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.agents |= {line.lower() for line in head.split("\r\n") if line.lower().startswith("user-agent")}
                path = head.split(" ")[1]
                self.requests.append(path)
                self.active += 1
                self.most_active = max(self.most_active, self.active)
                try:
                    await asyncio.sleep(self.delay)
                    if not await self.answer(path, writer):
                        break
                    await writer.drain()
                finally:
                    self.active -= 1
        with suppress(Exception):
            writer.close()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> bool:
        """Write one answer; False when the connection shall end."""
        photo_id, name = int(path.split("/")[-2]), path.rsplit("/", maxsplit=1)[-1]
        self.seen[photo_id] += 1
        fault, body = self.faults.get(photo_id, "ok"), self.content(photo_id, name)
        if body is None:
            fault, body = "404", b""
        if fault in TROUBLES:
            return await TROUBLES[fault](writer, body)
        if fault.isdigit():
            writer.write(reply(int(fault), b"<Error/>"))
            return True
        first = self.seen[photo_id] == 1
        answers = {
            "500-then-ok": reply(500, b"oops") if first else reply(200, body),
            "503-retry-after": reply(503, b"SlowDown", "Retry-After: 1") if first else reply(200, body),
            "truncated": reply(200, body[: len(body) // 2]),
            "truncated-then-ok": reply(200, body[: len(body) // 2] if first else body),
            "html": reply(200, HTML),
            "empty": reply(200, b""),
            "png": reply(200, png_bytes(photo_id)) if fault == "png" else b"",
            "gzip": reply(200, b"\x1f\x8b" + body, "Content-Encoding: gzip"),
            "off-host": reply(302, b"", f"Location: http://localhost:{self.port}/photos/1/medium.jpg"),
            "on-host": reply(302, b"", f"Location: /elsewhere/photos/{photo_id + 5_000_000}/medium.jpg"),
            "loop": reply(302, b"", f"Location: {path}"),
            "ok": reply(200, body),
        }
        writer.write(answers[fault])
        return True


async def stall(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(reply(200, body)[: -len(body) // 2])
    await writer.drain()
    await asyncio.sleep(60)
    return False


async def drip(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(reply(200, body)[: -len(body)])
    for byte in body:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.2)
    return True


async def reset(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(reply(200, body)[:200])
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def short(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(reply(200, body)[:-100])
    return False


async def huge(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()
    return False


async def huge_declared(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(60)
    return False


TROUBLES = {"stall": stall, "drip": drip, "reset": reset, "short": short, "huge": huge, "huge-declared": huge_declared}


def reply(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: image/jpeg", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextmanager
def running(server: FaultServer) -> Iterator[FaultServer]:
    """Run the server in a thread while the block lasts."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def main() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=256)
        server.port = listener.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        listener.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
