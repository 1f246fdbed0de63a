"""The server of ``benchmarks.download``: photos below ``photos/<photo_id>/medium.jpg``, from nginx or a small one.

A thousand names of some hundred files stand for as many photos as one likes: an id's last three digits choose.
"""

from __future__ import annotations

import asyncio
import io
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

DISTINCT = 200
NAMES = 1000
ADDRESS = re.compile(rb"GET /photos/\d*(\d{3})/medium\.jpg HTTP/1\.1\r\n")
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

#: No open_file_cache: it keeps so many files open that connections have to wait. Nothing is written outside {folder}.
NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile 16384; user {user};
pid "{folder}/nginx.pid"; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type image/jpeg;
    client_body_temp_path "{folder}/nginx-body"; proxy_temp_path "{folder}/nginx-proxy";
    fastcgi_temp_path "{folder}/nginx-fastcgi"; uwsgi_temp_path "{folder}/nginx-uwsgi";
    scgi_temp_path "{folder}/nginx-scgi";
    server {{
        listen 127.0.0.1:{port};
        location ~ "^/photos/[0-9]*([0-9][0-9][0-9])/medium\\.jpg$" {{ alias "{folder}/photos/$1.jpg"; }}
        location / {{ return 404; }}
    }}
}}
"""


def make_photos(folder: Path, noise: float) -> None:
    """Write JPEGs of 500 x 375 pixels, soft colours under noise; a deviation of 11 makes them 40 kB, none 10 kB."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    chance = np.random.default_rng(1)
    for number in range(NAMES):
        path = folder / f"{number:03}.jpg"
        if number >= DISTINCT:
            os.link(folder / f"{number % DISTINCT:03}.jpg", path)
            continue
        colours = Image.fromarray(chance.integers(40, 216, (6, 8, 3), dtype=np.uint8))
        soft = np.asarray(colours.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.float32)
        pixels = soft + chance.normal(0, noise, soft.shape)
        packed = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(packed, "JPEG", quality=80)
        path.write_bytes(packed.getvalue())


def nginx_program() -> str | None:
    """Return where nginx is; Debian has it where only root looks."""
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))


@contextmanager
def serving(folder: Path, program: str | None) -> Iterator[str]:
    """Serve ``folder/photos`` on loopback, by the nginx given or else by the small server; give the address."""
    with _nginx(folder, program) if program else _small(folder) as url:
        yield url


@contextmanager
def _nginx(folder: Path, program: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, user=pwd.getpwuid(os.geteuid()).pw_name))
    with (folder / "nginx.log").open("w+") as log:
        process = subprocess.Popen([program, "-p", folder, "-e", "stderr", "-c", config], stderr=log)
        try:
            for _ in range(100):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"nginx does not start: {log.read()}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _small(folder: Path) -> Iterator[str]:
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(str(folder / "photos"), theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


class _Photos(asyncio.Protocol):
    """One connection. Answers lie ready in memory: a server that works for them would be what is measured."""

    answers: dict[bytes, bytes]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.heard = b""

    def data_received(self, data: bytes) -> None:
        *requests, self.heard = (self.heard + data).split(b"\r\n\r\n")
        for request in requests:
            asked = ADDRESS.match(request)
            self.transport.write(self.answers[asked[1]] if asked else NOT_FOUND)
            if b"connection: close" in request.lower():
                self.transport.close()


def _serve(photos: str, port: Any) -> None:
    _Photos.answers = {path.stem.encode(): _answer(path.read_bytes()) for path in Path(photos).glob("*.jpg")}

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Photos, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def _answer(photo: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b" % (len(photo), photo)
