"""A small iNaturalist on loopback with the shape of the API v1, which fails on demand. Not a test itself."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.dumps import AMANITA, INACTIVE, TAXA, observation_uuid

BUCKET = "https://inaturalist-open-data.s3.amazonaws.com/photos"
STATIC = "https://static.inaturalist.org/photos"
HTML = b"<!DOCTYPE html><html><head><title>Offline</title></head><body><h1>Back soon</h1></body></html>"


def photo(photo_id: int, **other: Any) -> dict[str, Any]:
    """A photo as it stands in an observation."""
    return {
        "id": photo_id,
        "license_code": "cc-by-nc",
        "original_dimensions": {"width": 2048, "height": 1536},
        "url": f"{BUCKET}/{photo_id}/square.jpg",
        "attribution": "(c) ann, some rights reserved (CC BY-NC)",
        "flags": [],
        "moderator_actions": [],
        "hidden": False,
        **other,
    }


class World:
    """What the API knows: taxa, and observations in the order in which they were made."""

    def __init__(self) -> None:
        self.taxa: dict[int, dict[str, Any]] = {}
        self.observations: list[dict[str, Any]] = []
        self.odd: dict[int, dict[str, Any]] = {}
        """Observation id -> fields that are answered otherwise than they are."""
        for taxon_id, ancestry, level, rank, name in TAXA:
            self.taxon(taxon_id, ancestry, float(level), rank, name)
        self.taxon(
            INACTIVE, f"48460/47170/47169/{AMANITA}", 10, "species", "Amanita gone", is_active=False,
            current_synonymous_taxon_ids=[102],
        )  # fmt: skip

    def taxon(self, taxon_id: int, ancestry: str, level: float, rank: str, name: str, **other: Any) -> None:
        line = [int(part) for part in ancestry.split("/") if part]
        self.taxa[taxon_id] = {
            "id": taxon_id,
            "name": name,
            "rank": rank,
            "rank_level": level,
            "ancestor_ids": [*line, taxon_id],
            "ancestry": ancestry or None,
            "is_active": True,
            "iconic_taxon_name": "Fungi",
            "current_synonymous_taxon_ids": None,
            **other,
        }

    def names(self, taxon: dict[str, Any]) -> list[str]:
        """All that a search finds a taxon by."""
        return [taxon["name"], "Fly agaric"] if taxon["name"].startswith("Amanita muscaria") else [taxon["name"]]

    def observe(self, number: int, taxon_id: int, *photos: dict[str, Any], **other: Any) -> None:
        """One observation; without photos, it has one of the same number."""
        self.observations.append(
            {
                "id": number,
                "uuid": observation_uuid(number),
                "quality_grade": "research",
                "observed_on": "2024-09-30",
                "updated_at": "2024-10-01T10:00:00+02:00",
                "location": "47.5,-8.25",
                "geojson": {"type": "Point", "coordinates": [-8.25, 47.5]},
                "positional_accuracy": 5,
                "public_positional_accuracy": 5,
                "taxon": self.taxa[taxon_id],
                "user": {"id": 1 + number % 3, "login": f"user{1 + number % 3}", "name": None, "spam": False},
                "photos": list(photos) or [photo(number)],
                "flags": [],
                "comments": [{"body": "not needed " * 20}],
                **other,
            }
        )

    def observe_many(self, taxon_id: int, count: int, first: int) -> None:
        for number in range(first, first + count):
            self.observe(number, taxon_id)


class ApiServer:
    """Serves a world below ``/v1``.

    ``faults`` holds (part of the request's address, what goes wrong); a fault strikes once, or always when it ends
    with ``!``. Faults: a status such as ``500``; ``429`` with a ``Retry-After`` after a colon; ``stall``, ``drip``,
    ``drop``, ``short``, ``half``, ``html``, ``empty``, ``list``, ``bomb``, ``gzip``, ``again`` (the first page once
    more).
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.faults: deque[tuple[str, str]] = deque()
        self.requests: list[str] = []
        self.agents: set[str] = set()
        self.stop = threading.Event()
        self.stalled = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def fault(self, address: str) -> str:
        for each in list(self.faults):
            if each[0] in address:
                if not each[1].endswith("!"):
                    self.faults.remove(each)
                return each[1].rstrip("!")
        return ""

    # -- answers -------------------------------------------------------------------------------------------------

    def answer(self, path: str, asked: dict[str, str]) -> dict[str, Any]:
        if path == "/v1/observations":
            return self._observations(asked)
        if path == "/v1/observations/species_counts":
            counts = Counter(each["taxon"]["id"] for each in self._matching(asked))
            found = [{"count": count, "taxon": self.world.taxa[taxon]} for taxon, count in counts.most_common()]
            return {"total_results": len(found), "page": 1, "per_page": 500, "results": found}
        if path == "/v1/taxa":
            words = asked["q"].casefold()
            found = [
                taxon
                for taxon in self.world.taxa.values()
                if (taxon["is_active"] or asked["is_active"] == "any")
                and any(name.casefold().startswith(words) for name in self.world.names(taxon))
            ]
            return {"total_results": len(found), "page": 1, "per_page": 100, "results": found[:100]}
        ids = [int(each) for each in path.removeprefix("/v1/taxa/").split(",")]
        assert len(ids) <= 30
        found = [
            {**taxon, "ancestor_ids": [each for each in taxon["ancestor_ids"] if each != taxon["id"]], "children": []}
            for taxon_id, taxon in self.world.taxa.items()
            if taxon_id in ids
        ]
        return {"total_results": len(found), "page": 1, "per_page": 30, "results": found}

    def _matching(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        licenses = asked["photo_license"].split(",")
        return [
            each
            for each in sorted(self.world.observations, key=lambda each: each["id"])
            if each["quality_grade"] == asked["quality_grade"]
            and int(asked["taxon_id"]) in each["taxon"]["ancestor_ids"]
            and any(one["license_code"] in licenses for one in each["photos"])
        ]

    def _observations(self, asked: dict[str, str]) -> dict[str, Any]:
        assert (asked["order_by"], asked["order"], asked["photos"]) == ("id", "asc", "true")
        found = [each for each in self._matching(asked) if each["id"] > int(asked["id_above"])]
        per_page = int(asked["per_page"])
        assert per_page <= 200
        return {
            "total_results": len(found),
            "page": 1,
            "per_page": per_page,
            "results": [{**each, **self.world.odd.get(each["id"], {})} for each in found[:per_page]],
        }


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = dict(parse_qsl(parts.query))
            server.requests.append(self.path)
            server.agents.add(str(self.headers["User-Agent"]))
            fault = server.fault(self.path)
            if fault == "again":
                asked["id_above"] = "0"
            body = json.dumps(server.answer(parts.path, asked)).encode()
            with suppress(ConnectionError):
                self.close_connection = True
                self.close_connection = self.misbehave(fault, body)

        def misbehave(self, fault: str, body: bytes) -> bool:
            """Write the answer with its fault; True when the connection shall end."""
            bodies = {"half": body[: len(body) // 2], "html": HTML, "empty": b"", "list": b"[1]", "bomb": b"[" * 99_999}
            if fault == "stall":
                server.stalled.set()
                server.stop.wait(60)
                return True
            if fault == "drip":
                self.reply(200, b"{", length=len(body))
                while not server.stop.wait(0.1):
                    self.wfile.write(b" ")
                return True
            if fault == "drop":
                return True
            if fault == "short":
                self.reply(200, body, length=len(body) + 50)
                return True
            if fault == "gzip":
                self.reply(200, body, ("Content-Encoding", "gzip"))
            elif fault[:3].isdigit():
                status, _, wait = fault.partition(":")
                error = json.dumps({"error": "Unprocessable: bad taxon_id", "status": int(status)}).encode()
                self.reply(int(status), error, *([("Retry-After", wait)] if wait else []))
            else:
                self.reply(200, bodies.get(fault, body))
            return False

        def reply(self, status: int, body: bytes, *headers: tuple[str, str], length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


@contextmanager
def serving(world: World) -> Iterator[ApiServer]:
    """Run the server in a thread while the block lasts."""
    server = ApiServer(world)
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    listener.daemon_threads = True
    listener.block_on_close = False
    server.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        listener.shutdown()
        listener.server_close()
        thread.join(10)
