"""A file on a server comes whole and raw, or the reader hears why; never half of one file and half of another."""

from __future__ import annotations

import gc
import gzip
import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import pytest
from isal import igzip

from shroomcurate.catalogue.remote import Patience, Remote, describe, open_client, read_range
from shroomcurate.catalogue.stream import RemoteStream, in_background, open_remote
from shroomcurate.errors import BadDump, NetworkDown, ShroomError, SourceMissing
from tests.dump_server import AUGUST, JULY, Asked, DumpServer, Served
from tests.fault_server import running

NAME = "/taxa.csv.gz"
TEXT = b"".join(b"%d\t48460/47170\t10\tspecies\n" % number for number in range(60_000))
CONTENT = gzip.compress(TEXT, 1, mtime=0)
NOISE = random.Random(1).randbytes(3_000_000)
#: No test waits longer than it must.
HASTE = Patience(connect_timeout=5.0, read_timeout=0.3, attempts=4, backoff=0.01)


def read(url: str | Remote, patience: Patience = HASTE) -> bytes:
    with open_remote(url, patience) as stream:
        return stream.read()


def described(url: str) -> Remote:
    with open_client(url, 1, HASTE) as client:
        return describe(client, url, HASTE)


@contextmanager
def serving(content: bytes = NOISE, **options: object) -> Iterator[tuple[DumpServer, str]]:
    with running(DumpServer({NAME: Served(content)}, **options)) as server:  # type: ignore[arg-type,type-var]
        yield server, server.url + NAME


def test_bytes_come_as_they_are_stored_though_the_server_calls_them_encoded() -> None:
    with serving(CONTENT) as (server, url):
        assert read(url) == CONTENT
    assert {asked.headers["accept-encoding"] for asked in server.requests} == {"identity"}
    assert all(asked.headers["user-agent"].startswith("shroomcurate/") for asked in server.requests)


def test_a_reader_of_gzip_unpacks_it_while_it_comes() -> None:
    with serving(CONTENT, fault=each("drop", "ok", "close", "ok")) as (_, url), open_remote(url, HASTE) as stream:
        assert igzip.GzipFile(fileobj=io.BufferedReader(stream, 1 << 16)).read() == TEXT


def each(*faults: str, seed: int | None = None) -> Callable[[Asked], str]:
    """These faults in a row, then none; with a seed, faults at random for ever, every other request at most."""
    chance = random.Random(seed)
    row = iter(faults)

    def fault(_: Asked) -> str:
        return next(row, "ok") if seed is None else chance.choice([*faults, *["ok"] * len(faults)])

    return fault


@pytest.mark.parametrize("seed", range(6))
def test_whatever_goes_wrong_in_between_the_bytes_are_the_same(seed: int) -> None:
    faults = each("drop", "close", "503", "500", "stall", "slow-down", seed=seed)
    with serving(fault=faults) as (server, url):
        server.cut = random.Random(seed).random()
        assert read(url, replace(HASTE, attempts=30)) == NOISE


@pytest.mark.parametrize("seed", range(4))
def test_any_part_is_that_part(seed: int) -> None:
    chance = random.Random(seed)
    with (
        serving(fault=each("drop", "close", "500", "long", seed=seed)) as (_, url),
        open_client(url, 1, HASTE) as client,
    ):
        remote = describe(client, url, replace(HASTE, attempts=30))
        for _ in range(5):
            first, stop = sorted(chance.sample(range(len(NOISE)), 2))
            chunks = read_range(client, remote, first, stop, replace(HASTE, attempts=30), threading.Event())
            assert b"".join(chunks) == NOISE[first:stop]


def test_what_came_is_not_asked_for_again() -> None:
    with serving(fault=each("close", "close", "close")) as (server, url):
        assert read(described(url)) == NOISE
    starts = [asked.first for asked in server.gets]
    assert starts == sorted(set(starts))
    assert len(starts) == 4
    assert all("if-range" in asked.headers for asked in server.gets[1:])
    assert server.sent == len(NOISE)


def test_retries_count_from_the_last_byte_that_came() -> None:
    with serving(fault=each(*["drop"] * 6)) as (_, url):
        assert read(described(url), replace(HASTE, attempts=2)) == NOISE


@pytest.mark.parametrize("fault", ["503", "stall", "close"])
def test_a_server_that_never_brings_a_byte_is_given_up(fault: str) -> None:
    with serving(fault=lambda _: fault) as (server, url):
        server.cut = 0.0
        with pytest.raises(NetworkDown, match=r"asked 4 times in a row"):
            read(url)


def test_no_server_at_all_is_named_soon_however_patient_one_is_later() -> None:
    with pytest.raises(NetworkDown, match=r"no connection.*asked 3 times"):
        read("http://127.0.0.1:9/taxa.csv.gz", replace(HASTE, attempts=8))


@pytest.mark.parametrize("status", ["403", "404", "410"])
@pytest.mark.parametrize("head", ["same", "ok"])
def test_what_is_not_there_is_named_with_the_place_to_look(status: str, head: str) -> None:
    with (
        serving(fault=lambda _: status, head=status if head == "same" else "ok") as (server, url),
        pytest.raises(SourceMissing, match=status) as raised,
    ):
        read(url)
    assert "amazonaws.com" in raised.value.hint
    assert len(server.requests) <= 2


def dropped_then_replaced(server: DumpServer, content: bytes, put: datetime = AUGUST) -> Callable[[Asked], str]:
    """The next answer breaks off, and before the one after that another file takes the place of this one."""
    faults = iter(["drop"])

    def fault(_: Asked) -> str:
        for each_fault in faults:
            return each_fault
        server.files[NAME] = Served(content, put)
        return "ok"

    return fault


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_is_replaced_while_it_is_read_is_refused(ranges: bool) -> None:
    with serving(ranges=ranges) as (server, url):
        remote = described(url)
        server.fault = dropped_then_replaced(server, NOISE[::-1])
        with pytest.raises(BadDump, match="was replaced on the server while it was read: its etag"):
            read(remote)


@pytest.mark.parametrize("length", [1000, len(NOISE) - 1, len(NOISE) + 1])
def test_a_file_that_became_shorter_or_longer_is_refused_even_without_etag(length: int) -> None:
    with serving() as (server, url):
        remote = replace(described(url), etag=None)
        server.fault = dropped_then_replaced(server, (NOISE + b"x")[:length], put=JULY)
        with pytest.raises(BadDump, match="was replaced"):
            read(remote)


def test_a_content_length_that_lies_never_passes_for_the_file() -> None:
    with serving(fault=lambda _: "long") as (_, url), pytest.raises(ShroomError):
        read(url)
    with serving(fault=lambda _: "short") as (_, url), pytest.raises(BadDump, match="bytes"):
        read(url)


def test_another_part_than_was_asked_for_is_refused() -> None:
    with serving(fault=each("close", "shifted")) as (_, url), pytest.raises(BadDump, match="asked for byte"):
        read(url)


def test_a_server_without_range_is_read_anew_and_the_known_bytes_passed_over() -> None:
    with serving(fault=each("ok", "drop", "close"), ranges=False) as (_, url):
        assert not described(url).ranges
        assert read(url) == NOISE


def test_without_etag_and_date_a_broken_line_ends_the_reading() -> None:
    with serving(validators=False) as (_, url):
        assert not described(url).ranges
        assert read(url) == NOISE
    with serving(validators=False, fault=each("ok", "drop")) as (_, url), pytest.raises(NetworkDown, match="ETag"):
        read(url)


@pytest.mark.parametrize("head", ["405", "403", "501"])
def test_a_server_that_does_not_know_head_is_asked_for_a_byte(head: str) -> None:
    with serving(head=head) as (server, url):
        found = described(url)
        assert found.size == len(NOISE)
        assert found.ranges
        assert found.etag == server.files[NAME].etag
        assert found.modified == server.files[NAME].put
        assert [(asked.first, asked.stop) for asked in server.gets] == [(0, 1)]


def test_describing_fetches_nothing() -> None:
    with serving() as (server, url):
        described(url)
        assert [asked.method for asked in server.requests] == ["HEAD"]


def test_an_empty_file_is_empty() -> None:
    with serving(b"") as (_, url):
        assert read(url) == b""


class TestRedirects:
    def test_one_to_another_server_is_followed_and_a_changed_file_behind_it_refused(self) -> None:
        with serving() as (_, there), serving(fault=lambda _: f"redirect:{there}", head="405") as (_, url):
            assert read(url) == NOISE

    @pytest.mark.parametrize(
        "target",
        [
            "file:///etc/passwd",
            "ftp://127.0.0.1/x",
            "",
            "http://127.0.0.1:99999/",
            "http://xn--/",
            f"http://{64 * 'a'}.org/",
            "http://a..b/",
        ],
    )
    def test_one_to_no_web_address_is_refused(self, target: str) -> None:
        with (
            serving(fault=lambda _: f"redirect:{target}", head="405") as (_, url),
            pytest.raises(NetworkDown, match="is redirected to"),
        ):
            read(url)

    def test_a_circle_ends(self) -> None:
        with (
            serving(fault=lambda _: f"redirect:{NAME}", head="405") as (server, url),
            pytest.raises(NetworkDown, match="more than 5 times"),
        ):
            read(url)
        assert len(server.gets) == 6


class TestTheStream:
    def test_it_ends_its_thread_when_it_is_closed_or_forgotten(self) -> None:
        before = threading.active_count()
        with serving() as (_, url):
            stream = open_remote(url, HASTE)
            stream.read(10)
            stream.close()
            with pytest.raises(ValueError, match="closed"):
                stream.read(10)
            forgotten = open_remote(url, HASTE)
            forgotten.read(10)
            del forgotten
            gc.collect()
            give_up = time.monotonic() + 30
            while any(thread.name == "read ahead" for thread in threading.enumerate()):
                assert time.monotonic() < give_up, threading.enumerate()
                time.sleep(0.02)
        assert threading.active_count() <= before + 1

    def test_a_read_in_another_thread_ends_when_it_is_closed(self) -> None:
        def read_on() -> None:
            with pytest.raises(ValueError, match="closed"):
                stream.read()

        with serving() as (server, url):
            server.hold_after = len(NOISE) // 2
            stream = open_remote(url, HASTE)
            reader = threading.Thread(target=read_on, daemon=True)
            reader.start()
            time.sleep(0.1)
            stream.close()
            reader.join(10)
            assert not reader.is_alive()

    def test_an_error_stays(self) -> None:
        with serving(fault=lambda _: "503") as (_, url), open_remote(described(url), HASTE) as stream:
            for _ in range(2):
                with pytest.raises(NetworkDown):
                    stream.read(10)

    def test_the_end_stays(self) -> None:
        with serving(b"abc") as (_, url), open_remote(url, HASTE) as stream:
            assert isinstance(stream, RemoteStream)
            assert stream.remote.size == 3
            assert [stream.read(10), stream.read(10), stream.read(10)] == [b"abc", b"", b""]


def test_an_error_in_the_background_is_raised_in_front() -> None:
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0)
