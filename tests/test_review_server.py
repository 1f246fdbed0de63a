"""The review server refuses whoever was not given its address, and answers everything else with a good answer."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import jpeg
from tests.forked import Forked
from tests.review_pages import judged
from tests.review_server import NO_TLS, Reviewed, reviewed, start

CLASSES = ("Amanita_muscaria", "Boletus_edulis")
EACH = 4
SECRET = b"nobody's business"
END = 4.0  # seconds; two are promised, on a machine with nothing else to do


def tree(folder: Path, names: tuple[str, ...] = CLASSES, each: int = EACH) -> Path:
    """A dataset of photos and nothing else."""
    for axis, name in enumerate(names):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(each):
            (folder / "images" / name / f"{number}.jpg").write_bytes(jpeg(10 * axis + number))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("review")
    (top / "secret.txt").write_bytes(SECRET)
    (top / "secret.jpg").write_bytes(SECRET)
    return tree(top / "dataset")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Reviewed]:
    with reviewed(folder) as found:
        yield found


class Raw:
    """An answer as it came over the wire."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        head, _, self.body = content.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}

    def json(self) -> Any:
        return json.loads(self.body)


def raw(
    server: Reviewed,
    target: str | bytes,
    *,
    method: str = "GET",
    body: bytes = b"",
    host: str | None = None,
    **headers: str,
) -> Raw:
    """Ask without any library that would tidy up the request; `target` is what stands between method and HTTP/1.1."""
    lines = [f"Host: {host or f'127.0.0.1:{server.port}'}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    target = target.encode() if isinstance(target, str) else target
    head = method.encode() + b" " + target + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head + body)
        received = b""
        while piece := connection.recv(1 << 16):
            received += piece
    return Raw(received)


def generation(server: Reviewed) -> int:
    return int(server.get("api/dataset")["generation"])


def send(server: Reviewed, url: str, body: Any, **headers: str) -> Raw:
    """Send JSON; generation 1 in it stands for that of now."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = re.sub(rb'"generation": ?1(?=[,}])', b'"generation": %d' % generation(server), content)
    headers = {"Content_Type": "application/json", **headers}
    return raw(server, f"/{server.token}/{url}", method="POST", body=content, **headers)


def verdict(**other: Any) -> dict[str, Any]:
    return {"generation": 1, "photos": [0], "verdict": "keep", "reason": None, "tab": "t", **other}


ROUTES = [
    ("GET", ""),
    ("GET", "index.html"),
    ("GET", "api/dataset"),
    ("GET", "api/view?name=all"),
    ("GET", "api/photo/0"),
    ("GET", "api/map"),
    ("GET", "api/events"),
    ("GET", "thumbnail/0"),
    ("GET", "photo/0"),
    ("POST", "api/verdicts"),
    ("POST", "api/undo"),
    ("POST", "api/apply"),
    ("GET", "nothing/here"),
]


def refused(server: Reviewed, method: str, target: str, **headers: str) -> Raw:
    body = json.dumps(verdict()).encode() if method == "POST" else b""
    answer = raw(server, target, method=method, body=body, **({"Content_Type": "application/json"} | headers))
    assert answer.status == 403, target
    assert set(answer.json()) == {"error", "what", "hint"}
    return answer


# -- who is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "url"), ROUTES)
def test_nothing_is_answered_without_the_token(server: Reviewed, folder: Path, method: str, url: str) -> None:
    token = server.token
    for wrong in (
        f"/{url}",
        f"//{url}",
        f"/{token[:-1]}/{url}",
        f"/{token}x/{url}",
        f"/{token.swapcase()}/{url}",
        f"/x/{token}/{url}",
        f"//{token}/{url}",
        f"/%2e/{token}/{url}",
        f"/./{token}/{url}",
        f"/x/../{token}/{url}",
        f"/?token={token}",
        f"/{'A' * 5000}/{url}",
        f"/%C3%A9%FF/{url}",
        f"http://127.0.0.1:{server.port}/{url}",
    ):
        refused(server, method, wrong)
    assert not (folder / "verdicts.csv").exists()


@pytest.mark.parametrize(("method", "url"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"host": "evil.example"},
        {"host": "evil.example:{port}"},
        {"host": "127.0.0.1.evil.example:{port}"},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1:1"},
        {"host": "0.0.0.0:{port}"},
        {"host": "[::1]:{port}"},
        {"host": "LOCALHOST:{port}x"},
    ],
    ids=str,
)
def test_another_site_is_refused_though_it_knows_the_token(
    server: Reviewed, folder: Path, method: str, url: str, headers: dict[str, str]
) -> None:
    """Also one whose name has been made to mean this machine (DNS rebinding)."""
    meant = {name: value.format(port=server.port) for name, value in headers.items()}
    refused(server, method, f"/{server.token}/{url}", **meant)
    assert not (folder / "verdicts.csv").exists()


def test_the_page_itself_is_answered_by_both_names_of_loopback(server: Reviewed) -> None:
    for name in ("127.0.0.1", "localhost"):
        here = f"{name}:{server.port}"
        for headers in (
            {},
            {"Origin": f"http://{here}"},
            {"Sec_Fetch_Site": "none"},
            {"Sec_Fetch_Site": "same-origin"},
        ):
            assert raw(server, f"/{server.token}/api/dataset", host=here, **headers).status == 200


def test_a_link_to_the_page_may_be_followed_from_anywhere_and_nothing_of_it_may_be_embedded(server: Reviewed) -> None:
    click = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert raw(server, f"/{server.token}/", **click).status == 200
    for other in ({"Sec_Fetch_Dest": "iframe"}, {"Sec_Fetch_Dest": "image", "Sec_Fetch_Mode": "no-cors"}):
        refused(server, "GET", f"/{server.token}/", **click | other)
    refused(server, "POST", f"/{server.token}/api/verdicts", **click)


def test_a_form_of_another_site_cannot_write_for_it_cannot_send_json(server: Reviewed, folder: Path) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = send(server, "api/verdicts", verdict(), Content_Type=kind)
        assert answer.status == 415
    assert not (folder / "verdicts.csv").exists()


def test_addresses_that_write_do_not_answer_to_get_and_those_that_read_not_to_post(server: Reviewed) -> None:
    for method, url in ROUTES[:-1]:
        wrong = "POST" if method == "GET" else "GET"
        answer = raw(server, f"/{server.token}/{url}", method=wrong, Content_Type="application/json", body=b"{}")
        assert (answer.status, answer.json()["error"]) == (405, 405), url
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert raw(server, f"/{server.token}/api/verdicts", method=method).status == 405


def test_it_listens_on_loopback_alone(server: Reviewed) -> None:
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if int(port, 16) == server.port and line.split()[3] == "0A":
                listening.add(address)
    assert listening == {"0100007F"}  # 127.0.0.1, the lowest byte first


# -- paths -------------------------------------------------------------------------------------------------------

TRICKS = [
    "../secret.txt",
    "../../secret.txt",
    "..%2f..%2fsecret.txt",
    "%2e%2e/%2e%2e/secret.txt",
    "%2e%2e%2f%2e%2e%2fsecret.txt",
    "%252e%252e%252fsecret.txt",
    "..\\..\\secret.txt",
    "..%5c..%5csecret.txt",
    "....//....//secret.txt",
    "0/../../../secret.txt",
    "0%00.jpg",
    "%00",
    "0;/../secret.txt",
    "//etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "0/",
    "0/0",
    "0.jpg",
    "-1",
    "+1",
    "1e1",
    "0x1",
    " 1",
    "%201",
    "1%20",
    "1%0a",
    "٣",
    "%D9%A3",  # an Arabic three, which int() would read
    "%EF%BC%91",
    "999999999",
    "9" * 10,
    "9" * 5000,
    "a" * 7000,
    "%FF%FE",
    "",
]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick[:30])
def test_no_part_of_an_address_is_a_path(server: Reviewed, trick: str) -> None:
    for front in ("photo/", "thumbnail/", "api/photo/", "api/", "", "photo/0?g=", "thumbnail/0?g="):
        answer = raw(server, f"/{server.token}/{front}{trick}".encode())
        assert SECRET not in answer.content
        assert b"root:" not in answer.content
        if not trick and (front == "" or front.endswith("g=")):
            continue  # the page itself, a photo of this generation
        assert answer.status in (400, 403, 404, 409), front  # 403: of what is left, the first part is not the token
        if answer.status != 400:  # a target that no HTTP parser takes
            assert set(answer.json()) == {"error", "what", "hint"}


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick[:30])
def test_no_filter_is_a_path_either(server: Reviewed, trick: str) -> None:
    for field in ("name", "class", "reason", "licence", "decided", "text", "method"):
        for url in ("api/view?name=all&", "api/map?"):
            answer = raw(server, f"/{server.token}/{url}{field}={trick.replace(' ', '%20')}".encode())
            assert answer.status in (200, 400, 404, 409, 500), field
            if answer.status == 500:
                assert "embeddings" in answer.json()["what"]
            assert SECRET not in answer.content


def test_a_link_to_a_photo_elsewhere_is_that_photo(tmp_path: Path) -> None:
    """Trees of links are common, and cleaning follows them too; whoever asks has the token, so is the user."""
    folder = tree(tmp_path / "dataset", CLASSES[:1])
    photo = jpeg(99)
    (tmp_path / "elsewhere.jpg").write_bytes(photo)
    (tmp_path / "secret.txt").write_bytes(SECRET)
    links = folder / "images" / CLASSES[0]
    (links / "a.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (links / "b.txt").symlink_to(tmp_path / "secret.txt")
    (links / "c.jpg").symlink_to(tmp_path / "gone.jpg")
    (links / "d.jpg").symlink_to("/dev/zero")
    os.mkfifo(links / "e.jpg")
    with reviewed(folder) as server:
        assert server.get("api/dataset")["count"] == EACH + 2  # nothing that is no file
        number = {server.get(f"api/photo/{number}")["path"]: number for number in range(EACH + 2)}
        linked = number[f"images/{CLASSES[0]}/a.jpg"]
        assert server.client.get(f"photo/{linked}").content == photo
        assert server.client.get(f"thumbnail/{linked}").status_code == 200
        # What is not called a photo is neither shown nor sent.
        other = number[f"images/{CLASSES[0]}/b.txt"]
        for url in (f"photo/{other}", f"thumbnail/{other}"):
            assert server.client.get(url).status_code == 404


def test_a_compressed_file_beside_a_photo_is_not_sent_instead_of_it(server: Reviewed, folder: Path) -> None:
    photo = folder / "images" / CLASSES[0] / "0.jpg"
    (photo.parent / "0.jpg.gz").write_bytes(SECRET)
    try:
        assert server.client.get("photo/0", headers={"Accept-Encoding": "gzip, br"}).content == photo.read_bytes()
    finally:
        (photo.parent / "0.jpg.gz").unlink()


# -- bodies ------------------------------------------------------------------------------------------------------

BAD = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"3",
    b'"text"',
    b"\xff\xfe",
    b"NaN",
    b"[" * 200_000,
    b'{"a":' * 100_000,
    *(
        json.dumps(verdict(**{field: value})).encode()
        for field, values in {
            "photos": [
                None,
                0,
                "0",
                {},
                True,
                [True],
                ["0"],
                [0.0],
                [1.5],
                [None],
                [[0]],
                [-1],
                [0, -1],
                [float("nan")],
            ],
            "generation": [None, "1", 1.0, True, [1], {}],
            "verdict": [None, 1, True, "", "KEEP", "keep ", [], {}, "delete"],
            "reason": [1, True, "", "ugly", [], ["scenery"], {}],
            "tab": [None, 1, True, [], {}, ""],
        }.items()
        for value in values
    ),
    *(
        json.dumps({key: value for key, value in verdict().items() if key != missing}).encode()
        for missing in ("photos", "generation", "verdict", "tab")
    ),
]


@pytest.mark.parametrize("body", BAD, ids=lambda body: body[:70].decode(errors="replace"))
def test_a_body_that_is_no_verdict_is_named_and_nothing_is_written(server: Reviewed, folder: Path, body: bytes) -> None:
    answer = send(server, "api/verdicts", body)
    assert answer.status == 400
    assert answer.json()["what"]
    assert not (folder / "verdicts.csv").exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"generation":1}', b'{"tab":"t"}', b'{"generation":1,"tab":3}'])
def test_an_undo_of_nobody_is_named(server: Reviewed, body: bytes) -> None:
    assert send(server, "api/undo", body).status == 400


@pytest.mark.parametrize("number", [len(CLASSES) * EACH, 10**9, 10**30])
def test_a_photo_that_there_is_not_is_named_and_no_other_gets_a_verdict(
    server: Reviewed, folder: Path, number: int
) -> None:
    answer = send(server, "api/verdicts", verdict(photos=[0, number]))
    assert (answer.status, answer.json()["what"]) == (404, "There is no such photo.")
    assert not (folder / "verdicts.csv").exists()


def test_an_old_or_impossible_generation_is_refused(server: Reviewed, folder: Path) -> None:
    now = generation(server)
    for wrong in (0, -1, now + 1, 10**30):
        assert send(server, "api/verdicts", verdict(generation=wrong)).status == 409
        assert send(server, "api/undo", {"generation": wrong, "tab": "t"}).status == 409
    for url in ("thumbnail/0", "photo/0"):
        assert server.client.get(f"{url}?g={now}").status_code == 200
        assert server.client.get(f"{url}?g={now + 1}").status_code == 409
    assert not (folder / "verdicts.csv").exists()


def test_a_body_without_an_end_in_sight_is_refused(server: Reviewed) -> None:
    answer = send(server, "api/verdicts", b'{"photos": [' + b"0," * (9 << 20))
    assert (answer.status, answer.json()["error"]) == (413, 413)


def test_a_strange_charset_is_named(server: Reviewed) -> None:
    assert send(server, "api/verdicts", verdict(), Content_Type="application/json; charset=rot13-x").status == 400


# -- headers -----------------------------------------------------------------------------------------------------


def test_every_answer_carries_the_headers_that_keep_the_page_to_itself(server: Reviewed) -> None:
    t = server.token
    answers = [
        *(raw(server, f"/{t}/{url}") for method, url in ROUTES if method == "GET" and "events" not in url),
        raw(server, "/"),
        raw(server, f"/{t}/", host="evil.example"),
        raw(server, f"/{t}/photo/999"),
        raw(server, f"/{t}/api/verdicts"),
        send(server, "api/verdicts", b"{"),
        send(server, "api/verdicts", verdict(), Content_Type="text/plain"),
        send(server, "api/undo", {"generation": 1, "tab": "nobody"}),
        raw(server, f"/{t}/api/dataset", method="HEAD"),
    ]
    for answer in answers:
        headers = answer.headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["connect-src"] == policy["script-src"] == policy["style-src"] == "'self'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in headers if name.startswith("access-control")]
        assert "set-cookie" not in headers
        assert headers["cache-control"] == "no-store" or headers["content-type"] == "image/jpeg"
        if answer.status >= 400:
            assert headers["cache-control"] == "no-store"
            assert headers["content-type"].startswith("application/json")


def test_event_streams_carry_them_too_and_end_no_page(server: Reviewed) -> None:
    with httpx.stream("GET", f"{server.url}api/events", timeout=30) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in stream.headers["content-security-policy"]


def test_an_unknown_address_is_told_in_json_with_what_to_do(server: Reviewed) -> None:
    answer = raw(server, f"/{server.token}/nothing")
    assert (answer.status, answer.json()["error"]) == (404, 404)
    assert answer.json()["hint"]


def test_a_thumbnail_may_be_kept_by_the_browser_and_an_error_may_not(server: Reviewed) -> None:
    assert "no-cache" in raw(server, f"/{server.token}/thumbnail/0?g={generation(server)}").headers["cache-control"]
    assert raw(server, f"/{server.token}/thumbnail/999?g={generation(server)}").headers["cache-control"] == "no-store"


def test_a_thumbnail_that_the_browser_has_is_sent_again_only_when_the_photo_was_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "dataset" / "images" / "A"
    folder.mkdir(parents=True)
    photo = folder / "1.jpg"
    photo.write_bytes(jpeg(1))
    with reviewed(tmp_path / "dataset") as server:
        address = f"/{server.token}/thumbnail/0?g={generation(server)}"
        first = raw(server, address)
        tag = first.headers["etag"]
        again = raw(server, address, If_None_Match=tag)
        assert (again.status, again.headers["etag"]) == (304, tag)
        photo.write_bytes(jpeg(2, hue=180))
        other = raw(server, address, If_None_Match=tag)
        assert other.status == 200
        assert other.headers["etag"] != tag
        assert other.body != first.body


def test_a_photo_is_sent_as_it_is_whatever_is_in_it(tmp_path: Path) -> None:
    """A page called 1.jpg stays a picture to the browser, one that it cannot show."""
    folder = tmp_path / "dataset" / "images" / "A"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(b"<script>alert(1)</script>")
    (folder / "2.html").write_bytes(b"<script>alert(1)</script>")
    (folder / "3.JPG").write_bytes(jpeg(3))
    (folder / "4.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    with reviewed(tmp_path / "dataset") as server:
        for number, (status, kind) in enumerate(
            [(200, "image/jpeg"), (404, "application/json"), (200, "image/jpeg"), (404, "application/json")]
        ):
            answer = server.client.get(f"photo/{number}")
            assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (status, kind)
            assert answer.headers["x-content-type-options"] == "nosniff"


# -- its life ----------------------------------------------------------------------------------------------------


def test_the_token_stands_in_the_address_alone(tmp_path: Path) -> None:
    folder = tree(tmp_path / "dataset")
    tokens = []
    for _ in range(2):
        with reviewed(folder) as server:
            server.decide([0])
            for url in ("", "api/dataset", "photo/0", "nothing", "photo/x"):
                server.client.get(url)
            raw(server, "/")
            assert server.token not in raw(server, "/").content.decode()
            tokens.append(server.token)
            server.interrupt()
            written = "".join(server.lines) + server.process.stdout.read()
            assert written.count(server.token) == 1
    assert min(map(len, tokens)) >= 43  # 256 bits
    for file in folder.rglob("*"):
        if file.is_file():
            assert not any(token.encode() in file.read_bytes() for token in tokens)


def test_two_servers_on_one_dataset_see_each_others_verdicts(tmp_path: Path) -> None:
    folder = tree(tmp_path / "dataset")
    with reviewed(folder) as one, reviewed(folder) as other:
        assert other.get("api/dataset")["waiting"] == 0
        one.decide([0], tab="a")
        with other.events() as events:
            assert other.get("api/dataset")["photos"]["verdict"] == [1] + [0] * 7
            assert next(events)[1]["photos"] == [0]
        other.decide([1], "remove", "scenery", tab="a")
        one.decide([2], tab="a")
        assert one.get("api/dataset")["photos"]["verdict"] == [1, 3, 1, 0, 0, 0, 0, 0]
        assert other.get("api/dataset")["photos"]["verdict"] == [1, 3, 1, 0, 0, 0, 0, 0]
        # Each takes back its own, not the other's.
        assert other.undo("a").json()["photos"] == [1]
        assert other.undo("a").status_code == 404
        assert one.get("api/dataset")["photos"]["verdict"] == [1, 0, 1, 0, 0, 0, 0, 0]


def test_verdicts_of_two_servers_and_many_tabs_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    folder = tree(tmp_path / "dataset", each=20)
    with ExitStack() as stack:
        servers = [stack.enter_context(reviewed(folder)) for _ in range(2)]
        now = [generation(server) for server in servers]

        def click(tab: int) -> None:
            server, number = servers[tab % 2], now[tab % 2]
            for photo in range(tab, 40, 8):
                body = verdict(generation=number, photos=[photo], tab=f"tab {tab}")
                assert httpx.post(f"{server.url}api/verdicts", json=body, timeout=60, verify=NO_TLS).status_code == 200

        threads = [threading.Thread(target=click, args=(tab,)) for tab in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        for server in servers:
            assert server.get("api/dataset")["photos"]["verdict"] == [1] * 40
    lines = (folder / "verdicts.csv").read_text().splitlines()
    assert len(lines) == 41


def ended_after(server: Reviewed) -> float:
    began = time.monotonic()
    assert server.interrupt() == 0
    return time.monotonic() - began


def test_control_c_ends_it_within_two_seconds_while_pages_listen(tmp_path: Path) -> None:
    with reviewed(tree(tmp_path / "dataset")) as server, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(server.events())
        server.decide([0, 1])
        assert ended_after(server) < END
        assert "2 verdicts written to" in server.process.stdout.read()


def test_control_c_ends_it_within_two_seconds_while_a_request_is_half_sent(tmp_path: Path) -> None:
    with (
        reviewed(tree(tmp_path / "dataset")) as server,
        socket.create_connection(("127.0.0.1", server.port)) as idle,
        socket.create_connection(("127.0.0.1", server.port)) as half,
    ):
        server.get("api/dataset")
        idle.sendall(b"GET /")
        head = f"POST /{server.token}/api/verdicts HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        half.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode())
        time.sleep(0.2)
        assert ended_after(server) < END


def test_a_page_that_does_not_read_its_events_holds_nobody_up(tmp_path: Path) -> None:
    folder = tree(tmp_path / "dataset", each=100)
    with reviewed(folder) as server, socket.create_connection(("127.0.0.1", server.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(f"GET /{server.token}/api/events HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        now = generation(server)
        for _ in range(100):
            body = verdict(generation=now, photos=list(range(200)))
            assert server.post("api/verdicts", **body).status_code == 200
        assert ended_after(server) < END


def failed(process: Forked) -> tuple[int, dict[str, Any]]:
    _, errors = process.communicate(timeout=60)
    process.close()
    return process.wait(), json.loads(errors.splitlines()[-1])


def test_a_port_that_is_taken_is_named_with_an_exit_code_of_its_own(tmp_path: Path) -> None:
    folder = tree(tmp_path / "dataset")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = failed(start(folder, "--port", str(port), "--json"))
    assert (code, error["error"], error["exit_code"]) == (11, "Busy", 11)
    assert str(port) in error["what"]
    assert not (folder / "verdicts.csv").exists()


def test_without_photos_it_says_what_to_type(tmp_path: Path) -> None:
    code, error = failed(start(tmp_path / "nowhere", "--json"))
    assert (code, error["error"]) == (6, "StageMissing")
    assert "shroomcurate download" in error["hint"]
    (tmp_path / "empty" / "A").mkdir(parents=True)
    code, error = failed(start(tmp_path / "empty", "--json", images=True))
    assert (code, error["error"]) == (3, "SourceMissing")


def test_a_damaged_file_is_named_at_the_start(tmp_path: Path) -> None:
    folder = tree(tmp_path / "dataset")
    (folder / "verdicts.csv").write_text("path,verdict,reason,note,when\nimages/A/1.jpg,perhaps,,,\n")
    code, error = failed(start(folder, "--json"))
    assert (code, error["error"]) == (13, "DamagedFile")
    assert "line 2, verdict: 'perhaps'" in error["what"]


def test_control_c_ends_it_within_two_seconds_while_the_map_waits_for_the_disk(tmp_path: Path) -> None:
    dataset = judged(tmp_path / "fungi")
    with reviewed(dataset.root) as server:
        server.get("api/dataset")
        dataset.path("embeddings.parquet").unlink()
        os.mkfifo(dataset.path("embeddings.parquet"))  # as a disk that does not answer

        def ask() -> None:
            with suppress(httpx.HTTPError):
                server.client.get("api/map")

        threading.Thread(target=ask, daemon=True).start()
        time.sleep(0.5)
        assert ended_after(server) < END


def test_control_c_ends_it_within_two_seconds_while_large_photos_are_decoded(tmp_path: Path) -> None:
    folder = tree(tmp_path / "dataset", CLASSES[:1], 1)
    Image.new("RGB", (9900, 9900)).save(folder / "images" / CLASSES[0] / "large.png", compress_level=1)
    for number in range(8):
        shutil.copy(folder / "images" / CLASSES[0] / "large.png", folder / "images" / CLASSES[0] / f"{number}.png")
    with reviewed(folder) as server, ExitStack() as stack:
        server.get("api/dataset")
        for number in range(8):
            asked = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            asked.sendall(
                f"GET /{server.token}/thumbnail/{number} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
            )
        time.sleep(0.3)
        assert ended_after(server) < END
