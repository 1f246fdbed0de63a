"""A bucket of dumps on loopback that answers as S3 does, and fails on purpose. Not a test itself."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

JULY, AUGUST = datetime(2026, 7, 27, 3, 11, 22, tzinfo=UTC), datetime(2026, 8, 27, 3, 5, 9, tzinfo=UTC)


class Served(NamedTuple):
    """A file on the server."""

    content: bytes
    put: datetime = JULY

    @property
    def etag(self) -> str:
        # Of an upload in parts: a hash of hashes and the number of parts, and no MD5 of the file.
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}-3"'


class Asked(NamedTuple):
    """A request: method, path, and the bytes that were wanted, (0, size) when it named none."""

    method: str
    path: str
    first: int
    stop: int
    headers: dict[str, str]


class DumpServer:
    """Serves ``files``: path -> :class:`Served`. Runs inside :func:`tests.fault_server.running`.

    Parameters
    ----------
    fault
        Called for each GET; returns what goes wrong with it: "ok"; "drop", "close" or "stall" in mid-body; a status
        ("503", "404"); "slow-down" (503 with Retry-After); "long" or "short" (a Content-Length that lies);
        "shifted" (a Content-Range one byte further on); "redirect:ADDRESS".
    ranges
        False: Range is ignored, as by a simple server.
    validators
        False: neither ETag nor Last-Modified is sent.
    head
        What answers HEAD: "ok" or a status.
    """

    def __init__(
        self,
        files: dict[str, Served],
        fault: Callable[[Asked], str] = lambda _: "ok",
        *,
        ranges: bool = True,
        validators: bool = True,
        head: str = "ok",
    ) -> None:
        self.files = files
        self.fault = fault
        self.ranges, self.validators, self.head = ranges, validators, head
        self.requests: list[Asked] = []
        self.sent = 0
        self.hold_after: int | None = None
        """Once so many bytes of bodies were sent, nothing more is sent."""
        self.held: set[object] = set()
        """The connections that wait for that."""
        self.active = 0
        self.most_active = 0
        self.port = 0
        self.cut = 0.4
        """The share of a body that comes before a fault."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gets(self) -> list[Asked]:
        return [asked for asked in self.requests if asked.method == "GET"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:] if line)}
                method, path, _ = lines[0].split(" ")
                self.active += 1
                self.most_active = max(self.most_active, self.active)
                try:
                    if not await self.answer(method, path, headers, writer):
                        break
                finally:
                    self.active -= 1
                await writer.drain()
        with suppress(Exception):
            writer.close()

    async def answer(self, method: str, path: str, headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection shall end."""
        asked = self.understood(method, path, headers)
        self.requests.append(asked)
        fault = self.head if method == "HEAD" else self.fault(asked)
        first, stop = self.understood(method, path, headers)[2:4]  # the fault may have been another file
        served, wanted = self.files.get(path), "range" in headers
        size = len(served.content) if served else 0
        if fault.isdigit() or served is None:
            writer.write(reply(int(fault) if fault.isdigit() else 404))
            return True
        if fault == "slow-down":
            writer.write(reply(503, "Retry-After: 0"))
            return True
        if fault.startswith("redirect:"):
            writer.write(reply(302, f"Location: {fault.removeprefix('redirect:')}"))
            return True
        if wanted and first >= size:
            writer.write(reply(416))
            return True
        condition = headers.get("if-range")
        valid = {served.etag, format_datetime(served.put, usegmt=True)} if self.validators else set()
        partial = wanted and self.ranges and (condition is None or condition in valid)
        if not partial:
            first, stop = 0, size
        body = b"" if method == "HEAD" else served.content[first:stop]
        length = stop - first + {"long": 1000, "short": -7}.get(fault, 0)
        part = f"{first + (fault == 'shifted')}-{stop - 1}/{size}" if partial else None
        writer.write(self.begin(path, served, part, length))
        if fault == "short":
            body = body[:length]
        return await self.send(body, fault, writer)

    def understood(self, method: str, path: str, headers: dict[str, str]) -> Asked:
        size = len(self.files[path].content) if path in self.files else 0
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        first, stop = (int(wanted[1]), min(int(wanted[2] or size), size - 1) + 1) if wanted else (0, size)
        return Asked(method, path, first, stop, headers)

    def begin(self, path: str, served: Served, part: str | None, length: int) -> bytes:
        lines = [f"HTTP/1.1 {206 if part else 200} X", f"Content-Length: {length}"]
        if path.endswith(".csv.gz"):
            lines.append("Content-Encoding: gzip")  # as the bucket says
        if self.validators:
            lines += [f"ETag: {served.etag}", f"Last-Modified: {format_datetime(served.put, usegmt=True)}"]
        if self.ranges:
            lines.append("Accept-Ranges: bytes")
        if part:
            lines.append(f"Content-Range: bytes {part}")
        return "\r\n".join([*lines, "", ""]).encode()

    async def send(self, body: bytes, fault: str, writer: asyncio.StreamWriter) -> bool:
        end = int(len(body) * self.cut) if fault in {"drop", "close", "stall"} else len(body)
        for start in range(0, end, 16384):
            piece = body[start : min(start + 16384, end)]
            while self.hold_after is not None and self.sent + len(piece) > self.hold_after:
                self.held.add(writer)
                await asyncio.sleep(0.02)
            self.held.discard(writer)
            self.sent += len(piece)
            writer.write(piece)
            await writer.drain()
        if fault == "stall":
            await asyncio.sleep(60)
        if fault == "drop":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        return fault not in {"drop", "close", "long", "stall"}


def reply(status: int, *headers: str) -> bytes:
    body = b"" if status == 416 else b"<Error/>"
    return "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body
