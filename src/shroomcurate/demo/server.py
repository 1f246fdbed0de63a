"""A photo server on loopback that answers like the bucket: ``/photos/<photo_id>/<size>.<ext>``, 404 when gone."""

from __future__ import annotations

import mimetypes
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shroomcurate.errors import Busy


@contextmanager
def serve_photos(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve a folder in the bucket's layout on a port of 127.0.0.1 while the block runs.

    Parameters
    ----------
    folder
        Holds ``photos/<photo_id>/<size>.<ext>``. Every file below it is served; nothing outside it is.
    port
        0: one that is free.

    Yields
    ------
    The base URL, without a slash at its end: ``http://127.0.0.1:PORT``.

    Raises
    ------
    Busy
        Another program has the port.
    """
    try:
        server = _Server(("127.0.0.1", port), partial(_Handler, folder=folder.resolve()))
    except OSError as error:
        raise Busy(f"Port {port} of 127.0.0.1 cannot be had ({error.strerror}).", "Give another port.") from error
    # The short poll makes leaving the block quick.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024  # a downloader opens its connections all at once; the default is 5
    daemon_threads = False  # so that server_close() waits for the threads, whose connections it has ended

    def __init__(self, *arguments: Any) -> None:
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """End the kept-alive connections too: their threads wait for a next request that never comes."""
        with self._guard:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive
    disable_nagle_algorithm = True
    wbufsize = -1  # header and photo leave in one packet
    timeout = 60

    def __init__(self, *arguments: Any, folder: Path) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        file = find_file(self.folder, self.path)
        try:
            content = file.read_bytes() if file else None
        except OSError:
            content = None
        if file is None or content is None:
            status, kind, content = HTTPStatus.NOT_FOUND, "application/xml", b"<Error><Code>NoSuchKey</Code></Error>"
        else:
            status, kind = HTTPStatus.OK, mimetypes.guess_type(file.name.lower())[0] or "application/octet-stream"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def find_file(folder: Path, target: str) -> Path | None:
    """Return the file below `folder` that a request's target names; None when there is none or it lies outside.

    Parameters
    ----------
    folder
        Resolved, without symbolic links.
    target
        As in the request line: percent-encoded, perhaps with a query.
    """
    parts = unquote(urlsplit(target).path).lstrip("/").split("/")
    try:
        file = folder.joinpath(*parts).resolve()
        return file if file.is_relative_to(folder) and file.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return None
