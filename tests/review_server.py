"""The real `shroomcurate review` in a process of its own, for tests that talk to it. Not a test itself."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from .forked import SOURCE, Forked

PATIENCE = 60.0  # seconds: a busy machine takes long to start Python
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx would read every authority's certificate for each client


class Reviewed:
    """A server that answers.

    Attributes
    ----------
    url
        The address that it printed, with the token and a slash at its end.
    client
        Asks it; every URL is relative to `url`.
    lines
        What it has written to its standard error so far.
    """

    def __init__(self, process: Forked) -> None:
        self.process = process
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._address()
        self.port = urlsplit(self.url).port or 0
        self.token = urlsplit(self.url).path.strip("/")
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, verify=NO_TLS)

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)
            if "End it with" in line:
                self._ready.set()
        self._ready.set()

    def _address(self) -> str:
        self._ready.wait(PATIENCE)
        found = re.search(r"http://127\.0\.0\.1:\d+/\S+/", "".join(self.lines))
        if found is None:
            self.kill()
            raise AssertionError(f"no address in: {''.join(self.lines)}")
        return found[0]

    def get(self, url: str, **query: str) -> Any:
        """Return a JSON answer that must be a good one."""
        answer = self.client.get(url, params=query or None)
        assert answer.status_code in (200, 202), answer.text
        return strict_json(answer.text)

    def post(self, url: str, **body: Any) -> httpx.Response:
        """Send JSON and return the answer, whatever it is."""
        return self.client.post(url, json=body)

    def decide(self, photos: list[int], verdict: str = "keep", reason: str | None = None, tab: str = "tab") -> Any:
        """Give a verdict, which must succeed, and return the answer."""
        generation = self.get("api/dataset")["generation"]
        body = {"generation": generation, "photos": photos, "verdict": verdict, "reason": reason, "tab": tab}
        answer = self.post("api/verdicts", **body)
        assert answer.status_code == 200, answer.text
        return strict_json(answer.text)

    def undo(self, tab: str = "tab") -> httpx.Response:
        return self.post("api/undo", generation=self.get("api/dataset")["generation"], tab=tab)

    @contextmanager
    def events(self) -> Iterator[Iterator[tuple[str, Any]]]:
        """Listen: gives (name, data) of each event from now on."""
        with httpx.stream("GET", f"{self.url}api/events", timeout=PATIENCE, trust_env=False, verify=NO_TLS) as stream:
            assert stream.status_code == 200
            lines = stream.iter_lines()
            next(lines)  # it is listened to from here on
            yield _events(lines)

    def interrupt(self) -> int:
        """Press ^C, wait for the end, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self._ended()

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        self._ended()

    def close(self) -> None:
        """Let go of a server that has ended."""
        self._reader.join(PATIENCE)
        self.client.close()
        self.process.close()

    def _ended(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, strict_json(line.removeprefix("data: "))


def strict_json(text: str) -> Any:
    """Parse JSON as a browser does, which knows no NaN."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def start(
    folder: Path,
    *options: str,
    images: bool = False,
    environment: Mapping[str, str] | None = None,
    packages: Path | None = None,
) -> Forked:
    """Start the command on a dataset, or on somebody else's tree, without waiting for anything.

    `packages` is a folder in which it finds further ones.
    """
    place = ["--images" if images else "--dataset", str(folder)]
    arguments = ["review", "--no-browser", *([] if "--port" in options else ["--port", "0"]), *place, *options]
    own = {"PYTHONPATH": str(SOURCE), "SHROOMCURATE_HOME": str(folder.parent / "home")}
    return Forked(arguments, {**os.environ, **own, **(environment or {})}, packages)


@contextmanager
def reviewed(
    folder: Path,
    *options: str,
    images: bool = False,
    environment: Mapping[str, str] | None = None,
    packages: Path | None = None,
) -> Iterator[Reviewed]:
    """Serve a dataset, or somebody else's tree, until the block ends."""
    process = start(folder, *options, images=images, environment=environment, packages=packages)
    server = None
    try:
        server = Reviewed(process)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
        process.kill()
        process.wait()
        if server is None:
            process.close()
        else:
            server.close()
