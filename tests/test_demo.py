"""The demo's parts: rendered photos, the generated dump, the loopback server, the score."""

from __future__ import annotations

import csv
import gzip
import hashlib
import http.client
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shroomcurate.dataset import Column, Dataset, Receipt, make_table, write_table
from shroomcurate.demo.decoys import DECOYS, paint_decoy
from shroomcurate.demo.dump import DemoOptions, DemoTruth, make_demo
from shroomcurate.demo.paint import paint_mushroom
from shroomcurate.demo.plan import deal, make_plan
from shroomcurate.demo.score import Tally, score_cleaning
from shroomcurate.demo.server import serve_photos
from shroomcurate.demo.species import PHYLA, SPECIES, make_taxa
from shroomcurate.errors import BadOption, Busy, DamagedFile, NothingMatches, SourceMissing, StageMissing
from shroomcurate.photos import NotAPhoto, check_photo, read_photo

SMALL = DemoOptions(species=4, per_species=6, noise=0.15)
TINY = DemoOptions(species=2, per_species=4)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoTruth:
    return make_demo(tmp_path_factory.mktemp("demo") / "dump", SMALL, workers=1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> DemoTruth:
    return make_demo(tmp_path_factory.mktemp("tiny") / "dump", TINY, workers=1)


def table(demo: DemoTruth, name: str) -> list[dict[str, str]]:
    """Read a dump table as the format is: tabs, no quoting."""
    text = gzip.decompress((Path(demo.folder) / "metadata" / f"{name}.csv.gz").read_bytes()).decode()
    header, *lines = text.removesuffix("\n").split("\n")
    rows = [line.split("\t") for line in lines]
    assert {len(row) for row in rows} == {len(header.split("\t"))}
    return [dict(zip(header.split("\t"), row, strict=True)) for row in rows]


def truth_of(demo: DemoTruth) -> list[dict[str, str]]:
    with Path(demo.truth_csv).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# -- rendering -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("species", SPECIES, ids=lambda one: one.name.replace(" ", "_"))
def test_every_species_renders_a_full_photo_of_medium_size(species: object) -> None:
    image = paint_mushroom(SPECIES[SPECIES.index(species)].look, 11)  # type: ignore[arg-type]
    assert (image.mode, max(image.size)) == ("RGB", 500)
    assert np.asarray(image).std() > 12


def test_the_same_numbers_give_the_same_photo_and_others_another() -> None:
    look = SPECIES[0].look
    first = paint_mushroom(look, 5).tobytes()
    assert paint_mushroom(look, 5).tobytes() == first
    assert paint_mushroom(look, 6).tobytes() != first
    assert paint_mushroom(look, 5, view=1).tobytes() != first
    for kind in DECOYS:
        assert paint_decoy(kind, look, 5).tobytes() == paint_decoy(kind, look, 5).tobytes()


def test_photos_of_one_observation_look_alike() -> None:
    def colours(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((1, 1), Image.Resampling.BOX), dtype=float).ravel()

    look = SPECIES[9].look
    views = [[colours(paint_mushroom(look, seed, view)) for view in range(2)] for seed in range(12)]
    within = np.mean([np.linalg.norm(a - b) for a, b in views])
    between = np.mean([np.linalg.norm(a[0] - b[0]) for a, b in pairwise(views)])
    assert within < between


def test_microscopy_and_mushrooms_differ_in_sharpness_of_detail_or_brightness() -> None:
    look = SPECIES[1].look
    mushrooms = np.mean([np.asarray(paint_mushroom(look, seed).convert("L")).mean() for seed in range(8)])
    spores = np.mean([np.asarray(paint_decoy("microscopy", look, seed).convert("L")).max() for seed in range(8)])
    assert spores > mushrooms + 40


def test_a_finger_covers_a_good_part_of_its_mushroom() -> None:
    covered = []
    for seed in range(6):
        clear = np.asarray(paint_mushroom(SPECIES[0].look, seed), dtype=int)
        hidden = np.asarray(paint_decoy("obstructed", SPECIES[0].look, seed), dtype=int)
        covered.append(float((np.abs(clear - hidden).sum(axis=2) > 60).mean()))
    assert 0.2 < np.mean(covered) < 0.95


# -- species and plan ------------------------------------------------------------------------------------------


def test_every_taxon_s_ancestry_is_the_path_of_its_parents() -> None:
    taxa = make_taxa()
    by_id = {taxon.taxon_id: taxon for taxon in taxa.values()}
    assert len(by_id) == len(taxa)
    for taxon in taxa.values():
        path = [int(part) for part in taxon.ancestry.split("/") if part]
        if path:
            parent = by_id[path[-1]]
            assert taxon.ancestry == f"{parent.ancestry}/{parent.taxon_id}".lstrip("/")
    for one in SPECIES:
        assert str(PHYLA[one.phylum]) in taxa[one.name].ancestry.split("/")


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.01, 1), min_size=1, max_size=6),
    st.integers(0, 200),
)
def test_dealing_gives_as_many_as_asked_and_every_value_when_there_is_room(
    shares: dict[str, float], count: int
) -> None:
    total = sum(shares.values())
    dealt = deal(np.random.default_rng(0), {key: share / total for key, share in shares.items()}, count)
    assert len(dealt) == count
    if count >= 3 * len(shares) + 100:
        assert set(dealt) == set(shares)


@pytest.mark.parametrize(
    "options", [{"species": 1}, {"species": 999}, {"per_species": 0}, {"noise": -0.1}, {"noise": 2}]
)
def test_an_impossible_demo_is_refused_with_the_value(options: dict[str, float]) -> None:
    with pytest.raises(BadOption, match=str(next(iter(options.values())))):
        DemoOptions(**options)  # type: ignore[arg-type]


def test_the_default_plan_holds_every_kind_state_licence_and_extension_in_its_share() -> None:
    plan = make_plan(DemoOptions())
    photos = {photo.photo_id: photo for photo in plan.photos}
    noise = sum(photo.kind in DECOYS for photo in photos.values())
    assert noise / len(photos) == pytest.approx(0.08, abs=0.005)
    assert {photo.kind for photo in photos.values()} == {"ok", "duplicate", *DECOYS}
    assert {photo.state for photo in photos.values()} == {"served", "gone", "truncated", "empty", "html"}
    assert {photo.extension for photo in photos.values()} == {"jpg", "jpeg", "JPG", "png", "gif"}
    assert len({photo.license for photo in photos.values()}) == 8
    per_observation: dict[str, int] = {}
    for photo in plan.photos:
        per_observation[photo.observation_uuid] = per_observation.get(photo.observation_uuid, 0) + 1
    assert min(per_observation.values()) == 1
    assert {1, 2, 3, 4} <= set(per_observation.values())


# -- the dump --------------------------------------------------------------------------------------------------


def test_the_tables_have_the_true_headers(demo: DemoTruth) -> None:
    assert list(table(demo, "observations")[0]) == [
        "observation_uuid", "observer_id", "latitude", "longitude", "positional_accuracy", "taxon_id",
        "quality_grade", "observed_on", "anomaly_score",
    ]  # fmt: skip
    assert list(table(demo, "photos")[0]) == [
        "photo_uuid", "photo_id", "observation_uuid", "observer_id", "extension", "license", "width", "height",
        "position",
    ]  # fmt: skip
    assert list(table(demo, "taxa")[0]) == ["taxon_id", "ancestry", "rank_level", "rank", "name", "active"]
    assert list(table(demo, "observers")[0]) == ["observer_id", "login", "name"]


def test_the_tables_hold_the_traps_of_the_real_ones(demo: DemoTruth) -> None:
    taxa, observers = table(demo, "taxa"), table(demo, "observers")
    observations, photos = table(demo, "observations"), table(demo, "photos")
    names = " ".join(row["name"] for row in taxa + observers)
    assert all(sign in names for sign in ('"', "'", "\\", "×", "Ł", "山"))
    assert {"10", "10.0", "5"} <= {row["rank_level"] for row in taxa}
    assert {"hybrid", "variety"} <= {row["rank"] for row in taxa}
    known = {row["taxon_id"]: row for row in taxa}
    identified = [row["taxon_id"] for row in observations]
    assert "" in identified
    assert any(one and one not in known for one in identified)
    assert any(one in known and known[one]["active"] == "false" for one in identified)
    assert any(one in known and known[one]["ancestry"].split("/")[1:2] != ["47170"] for one in identified)
    assert {row["quality_grade"] for row in observations} == {"research", "needs_id", "casual"}
    for column in ("anomaly_score", "positional_accuracy"):
        assert {bool(row[column]) for row in observations} == {True, False}
    assert {bool(row["name"]) for row in observers} == {True, False}
    assert any(int(row["position"]) > 0 for row in photos)

    taxon_of = {row["observation_uuid"]: row["taxon_id"] for row in observations}
    places: dict[str, list[str]] = {}
    for row in photos:
        places.setdefault(row["photo_id"], []).append(row["observation_uuid"])
    assert any(len(found) > len(set(found)) for found in places.values()), "a repeated row"
    assert any(len(set(found)) > 1 and len({taxon_of[one] for one in found}) == 1 for found in places.values())
    assert any(len({taxon_of[one] for one in found}) > 1 for found in places.values()), "a photo of two species"


def test_every_photo_lies_in_the_bucket_as_the_truth_says(demo: DemoTruth) -> None:
    extensions = {row["photo_id"]: row["extension"] for row in table(demo, "photos")}
    truth = truth_of(demo)
    assert len(truth) == demo.photos == len(extensions)
    assert {row["state"] for row in truth} == {"served", "gone", "truncated", "empty", "html"}
    for row in truth:
        file = Path(demo.folder) / "photos" / row["photo_id"] / f"medium.{extensions[row['photo_id']]}"
        if row["state"] == "gone":
            assert not file.parent.exists()
        elif row["state"] == "served":
            assert max(check_photo(file.read_bytes()).width, check_photo(file.read_bytes()).height) == 500
        else:
            with pytest.raises(NotAPhoto):
                check_photo(file.read_bytes())


def test_a_duplicate_is_the_same_picture_in_other_bytes_and_another_observation(demo: DemoTruth) -> None:
    photos = {row["photo_id"]: row for row in table(demo, "photos")}
    pairs = [(row["photo_id"], row["duplicate_of"]) for row in truth_of(demo) if row["kind"] == "duplicate"]
    assert pairs
    for copy, original in pairs:
        assert photos[copy]["observation_uuid"] != photos[original]["observation_uuid"]
        files = [Path(demo.folder) / "photos" / one / f"medium.{photos[one]['extension']}" for one in (copy, original)]
        assert files[0].read_bytes() != files[1].read_bytes()
        left, right = (np.asarray(read_photo(file), dtype=int) for file in files)
        assert np.abs(left - right).mean() < 6


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bytes(tiny: DemoTruth, tmp_path: Path) -> None:
    make_demo(tmp_path / "again", TINY, workers=2)
    assert bytes_of(tmp_path / "again") == bytes_of(Path(tiny.folder))


def test_a_finished_demo_is_used_again_and_another_replaces_it(tiny: DemoTruth, tmp_path: Path) -> None:
    shutil.copytree(tiny.folder, tmp_path / "dump")
    before = (tmp_path / "dump" / "demo.json").stat().st_ino
    calls: list[str] = []
    make_demo(tmp_path / "dump", TINY, progress=lambda _done, _total, label: calls.append(label), workers=1)
    assert (tmp_path / "dump" / "demo.json").stat().st_ino == before
    assert calls == []
    make_demo(tmp_path / "dump", DemoOptions(species=2, per_species=4, seed=2), workers=1)
    assert (tmp_path / "dump" / "demo.json").stat().st_ino != before


def test_a_folder_that_is_no_demo_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BadOption, match="no demo"):
        make_demo(tmp_path, SMALL, workers=1)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_killed_demo_leaves_no_worker_and_runs_again_to_the_same_bytes(tiny: DemoTruth, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "from pathlib import Path\n"
        "from shroomcurate.demo.dump import DemoOptions, make_demo\n"
        "if __name__ == '__main__':\n"
        f"    make_demo(Path({str(tmp_path / 'dump')!r}), {TINY!r}, workers=2)\n"
    )
    running = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    partial = tmp_path / "dump.partial" / "photos"
    deadline = time.monotonic() + 60
    while not (partial.is_dir() and len(list(partial.iterdir())) >= 3):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "dump").exists()
    while _alive(running.pid):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.1)
    make_demo(tmp_path / "dump", TINY, workers=1)
    assert bytes_of(tmp_path / "dump") == bytes_of(Path(tiny.folder))
    assert not (tmp_path / "dump.partial").exists()


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# -- the server ------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    folder = tmp_path / "bucket"
    (folder / "photos" / "12").mkdir(parents=True)
    (folder / "photos" / "12" / "medium.JPG").write_bytes(b"\xff\xd8" + bytes(5000))
    (folder / "photos" / "12" / "empty.jpg").write_bytes(b"")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


def get(base: str, target: str, method: str = "GET") -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=10)
    connection.request(method, target)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, answer.getheader("Content-Length")


def test_the_server_serves_what_is_there_with_its_length_and_404_otherwise(bucket: Path) -> None:
    with serve_photos(bucket) as base:
        assert get(base, "/photos/12/medium.JPG") == (200, b"\xff\xd8" + bytes(5000), "5002")
        assert get(base, "/photos/12/medium.JPG?x=1")[0] == 200
        assert get(base, "/photos/12/empty.jpg") == (200, b"", "0")
        assert get(base, "/photos/12/medium.JPG", "HEAD") == (200, b"", "5002")
        for target in ("/photos/12/medium.jpg", "/photos/13/medium.jpg", "/photos/12/", "/photos", "/"):
            assert get(base, target)[0] == 404


@pytest.mark.parametrize(
    "target",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/photos/../../secret.txt", "/photos/..%2f..%2fsecret.txt",
     "//../secret.txt", "/link.txt", "/photos/%00", "/" + "a" * 5000],
)  # fmt: skip
def test_the_server_gives_nothing_from_outside_its_folder(bucket: Path, target: str) -> None:
    with serve_photos(bucket) as base:
        status, content, _ = get(base, target)
    assert status == 404
    assert b"secret" not in content


def test_a_port_that_another_program_has_is_named(bucket: Path) -> None:
    with serve_photos(bucket) as base, pytest.raises(Busy, match="Port"):  # noqa: PT012 (the block is what must fail)
        port = int(base.rpartition(":")[2])
        with serve_photos(bucket, port):
            pass


def test_a_demo_of_few_species_has_both_phyla_that_a_load_looks_for() -> None:
    assert set(PHYLA) <= set(make_taxa(SPECIES[:2]))


def test_a_connection_is_kept_alive(bucket: Path) -> None:
    with serve_photos(bucket) as base:
        connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=10)
        sockets = []
        for target in ("/photos/12/medium.JPG", "/nothing", "/photos/12/empty.jpg"):
            connection.request("GET", target)
            connection.getresponse().read()
            sockets.append(connection.sock)
        assert sockets[0] is not None
        assert len({id(one) for one in sockets}) == 1
        connection.close()


def test_many_connections_at_once_are_all_answered(bucket: Path) -> None:
    with serve_photos(bucket) as base:
        host, port = base.removeprefix("http://").split(":")
        # Open all before the first asks: a short queue would refuse some.
        opened = [socket.create_connection((host, int(port)), timeout=10) for _ in range(200)]

        def ask(connection: socket.socket) -> bytes:
            connection.sendall(b"GET /photos/12/empty.jpg HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            with connection, io.BytesIO() as answer:
                while part := connection.recv(4096):
                    answer.write(part)
                return answer.getvalue()

        with ThreadPoolExecutor(16) as pool:
            assert all(answer.startswith(b"HTTP/1.1 200") for answer in pool.map(ask, opened))


def test_the_server_ends_at_once_though_connections_are_open(bucket: Path) -> None:
    threads = threading.active_count()
    with serve_photos(bucket) as base:
        idle = http.client.HTTPConnection(base.removeprefix("http://"), timeout=10)
        idle.request("GET", "/photos/12/empty.jpg")
        idle.getresponse().read()
        started = time.monotonic()
    assert time.monotonic() - started < 3
    assert threading.active_count() == threads
    with pytest.raises(OSError):  # noqa: PT011 (refused or reset, as the system likes)
        get(base, "/")
    idle.close()


# -- the score -------------------------------------------------------------------------------------------------

CLEAN = (
    Column("photo_id", "int64", ""),
    Column("class", "string", ""),
    Column("kept", "bool", ""),
    Column("reason", "string", ""),
)
#: photo_id, class, kept, reason | kind, duplicate_of
CASES = (
    (1, "A", True, None, "ok", ""),
    (2, "A", False, "outlier", "ok", ""),  # wrong
    (3, "A", False, "microscopy", "microscopy", ""),  # found
    (4, "A", True, None, "microscopy", ""),  # missed
    (5, "A", False, "outlier", "scenery", ""),  # found
    (6, "A", False, "duplicate", "ok", ""),  # the original of 7: neither, or counted with 7
    (7, "A", True, None, "duplicate", "6"),
    (8, "B", True, None, "scenery", ""),  # missed
    (9, "B", False, "duplicate", "ok", ""),  # no known copy
    (10, "B", True, None, "ok", ""),
)


@pytest.fixture
def cleaned(tmp_path: Path) -> Callable[[], tuple[Dataset, Path]]:
    def make() -> tuple[Dataset, Path]:
        dataset = Dataset(tmp_path / "dataset")
        rows: list[dict[str, object]] = [
            {"photo_id": one[0], "class": one[1], "kept": one[2], "reason": one[3]} for one in CASES
        ]
        rows.append({"photo_id": 99, "class": "A", "kept": False, "reason": "outlier"})  # not in the truth
        rows.append({"photo_id": None, "class": "A", "kept": False, "reason": "outlier"})
        write_table(dataset.path("clean.parquet"), make_table(CLEAN, rows), Receipt("clean", {}))
        truth = tmp_path / "truth.csv"
        lines = [f"{one[0]},Some species,{one[4]},served,{one[5]}" for one in CASES]
        lines.append("100,Some species,microscopy,gone,")  # never judged
        truth.write_text("photo_id,species,kind,state,duplicate_of\n" + "\n".join(lines) + "\n")
        return dataset, truth

    return make


def test_the_score_is_what_one_counts_by_hand(cleaned: Callable[[], tuple[Dataset, Path]]) -> None:
    score = score_cleaning(*cleaned())
    assert (score.judged, score.noise, score.removed) == (10, 4, 3)
    assert score.precision == pytest.approx(2 / 3)
    assert score.recall == pytest.approx(2 / 4)
    assert score.f1 == pytest.approx(4 / 7)
    assert score.kinds == {"microscopy": Tally(1, 1), "scenery": Tally(1, 1)}
    assert score.classes == {"A": Tally(2, 1, 1), "B": Tally(0, 1, 0)}
    assert score.macro_f1 == pytest.approx((4 / 6 + 0) / 2)


def test_duplicates_count_when_asked_and_either_of_a_pair_will_do(cleaned: Callable[[], tuple[Dataset, Path]]) -> None:
    score = score_cleaning(*cleaned(), duplicates=True)
    assert score.kinds["duplicate"] == Tally(1, 0)
    assert score.classes == {"A": Tally(3, 1, 1), "B": Tally(0, 1, 1)}


def test_the_score_can_be_limited_to_classes(cleaned: Callable[[], tuple[Dataset, Path]]) -> None:
    score = score_cleaning(*cleaned(), classes=["B"])
    assert (score.judged, score.precision, score.recall, score.f1) == (3, 0, 0, 0)
    with pytest.raises(NothingMatches):
        score_cleaning(*cleaned(), classes=["C"])


def test_a_score_without_its_inputs_says_what_is_missing(
    cleaned: Callable[[], tuple[Dataset, Path]], tmp_path: Path
) -> None:
    dataset, truth = cleaned()
    with pytest.raises(SourceMissing):
        score_cleaning(dataset, tmp_path / "none.csv")
    with pytest.raises(StageMissing):
        score_cleaning(Dataset(tmp_path / "other"), truth)
    truth.write_text("photo_id,what\n1,ok\n")
    with pytest.raises(DamagedFile, match="kind"):
        score_cleaning(dataset, truth)


@pytest.mark.shared
def test_the_truth_of_real_photographs_is_understood(shared: Path, tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    with (shared / "inat-mini" / "truth.csv").open(newline="") as handle:
        truth = [row for row in csv.DictReader(handle) if row["state"] == "served"]
    rows = [
        {"photo_id": int(row["photo_id"]), "class": row["species"], "kept": row["kind"] != "drawing", "reason": None}
        for row in truth
    ]
    write_table(dataset.path("clean.parquet"), make_table(CLEAN, rows), Receipt("clean", {}))
    score = score_cleaning(dataset, shared / "inat-mini" / "truth.csv")
    assert score.precision == 1.0
    assert score.kinds["drawing"].missed == 0
    assert set(score.kinds) == {"microscopy", "scenery", "hand", "drawing", "screenshot"}
    assert score.noise == sum(row["kind"] != "ok" for row in truth)
