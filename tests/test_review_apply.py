"""Apply: the verdicts move photos, with the options of the last cleaning, and nothing that goes wrong harms a photo."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shroomcurate.clean import CleanOptions, clean
from shroomcurate.cli import again as cleaning
from shroomcurate.dataset import Dataset, Receipt, read_receipt, read_table, write_table
from shroomcurate.embed import EmbedOptions, embed
from shroomcurate.errors import Busy, WeightsMissing
from shroomcurate.review.again import Again, Event
from shroomcurate.verdicts import read_verdicts
from tests.cleaning import noisy_classes, photos
from tests.conftest import jpeg
from tests.review_server import Reviewed, reviewed
from tests.test_review_server import END

EACH = 25


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that have been cleaned once, with options of their own."""
    dataset = Dataset(tmp_path_factory.mktemp("apply") / "dataset")
    for axis, name in enumerate(("Amanita_muscaria", "Boletus_edulis")):
        (dataset.images / name).mkdir(parents=True)
        for number in range(EACH):
            (dataset.images / name / f"{number:02}.jpg").write_bytes(jpeg(100 * axis + number, hue=90 * axis))
    embed(dataset, EmbedOptions("classic"))
    clean(dataset, CleanOptions(eps=0.2, min_share=0.3, learn=False))
    return dataset.root


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Dataset:
    shutil.copytree(made, tmp_path / "dataset")
    return Dataset(tmp_path / "dataset")


@contextmanager
def applying(server: Reviewed) -> Iterator[Iterator[Event]]:
    """Press Apply; gives the events of that cleaning, the last one included."""
    generation = server.get("api/dataset")["generation"]
    with server.events() as events:
        answer = server.post("api/apply", generation=generation)
        assert (answer.status_code, answer.json()) == (202, {"state": "running"})
        yield _until_the_end(events)


def _until_the_end(events: Iterator[tuple[str, Any]]) -> Iterator[Event]:
    for name, event in events:
        if name == "apply":
            yield event
            if event["state"] != "running":
                return


def apply(server: Reviewed) -> Event:
    with applying(server) as events:
        return list(events)[-1]


def everything(dataset: Dataset) -> list[str]:
    """The name of every photo wherever it lies, each as often as it is there."""
    found = [*dataset.images.rglob("*.jpg"), *dataset.removed.rglob("*.jpg")]
    return sorted(f"{file.parent.name}/{file.name}" for file in found)


def test_apply_moves_photos_as_the_verdicts_say_and_back_again(dataset: Dataset) -> None:
    whole = everything(dataset)
    with reviewed(dataset.root) as server:
        path = server.get("api/photo/3")["path"]
        server.decide([3, 4], "remove", "scenery")
        assert dataset.root.joinpath(path).is_file()  # nothing moves before
        event = apply(server)
        assert (event["state"], event["summary"]["moved_out"], event["summary"]["decided_by"]["person"]) == (
            "done",
            2,
            2,
        )
        assert dataset.locate(path, "scenery").is_file()
        about = server.get("api/dataset")
        assert (about["waiting"], about["apply"]) == (0, None)
        assert "too few to tell" in server.get("api/photo/0")["left_alone"]
        moved = server.get("api/view", name="moved")
        assert moved["order"] == [3, 4]
        assert [section["title"] for section in moved["sections"]] == ["Scenery"]
        assert about["photos"]["reason"][3] == about["photos"]["reason"][4] == 2
        told = server.get("api/photo/3")
        assert (told["there"], told["kept"], told["reason"], told["decided_by"]) == (True, False, "scenery", "person")
        assert server.client.get(f"thumbnail/3?g={about['generation']}").status_code == 200
        server.undo()
        assert server.get("api/dataset")["waiting"] == 2  # the cleaning went by what is taken back
        event = apply(server)
        assert event["summary"]["moved_back"] == 2
        assert server.get("api/dataset")["waiting"] == 0
        assert dataset.root.joinpath(path).is_file()
    assert everything(dataset) == whole


def test_the_options_of_the_last_time_are_used_again_and_new_photos_are_judged_too(dataset: Dataset) -> None:
    (dataset.images / "Amanita_muscaria" / "new.jpg").write_bytes(jpeg(999))
    before = {name: read_receipt(dataset.path(name)) for name in ("embeddings.parquet", "clean.parquet")}
    with reviewed(dataset.root) as server:
        assert "1 photos are not judged yet" in " ".join(server.get("api/dataset")["notes"])
        assert apply(server)["state"] == "done"
        assert server.get("api/dataset")["notes"] == []
    for name, old in before.items():
        new = read_receipt(dataset.path(name))
        assert old is not None
        assert new is not None
        told = {"left_alone": {}}  # what came of it, not how it was asked for
        assert {**new.options, **told} == {**old.options, **told}
    options = read_receipt(dataset.path("clean.parquet"))
    assert options is not None
    assert (options.options["eps"], options.options["min_share"], options.options["learn"]) == (0.2, 0.3, False)
    assert "images/Amanita_muscaria/new.jpg" in read_table(dataset.path("clean.parquet"))["path"].to_pylist()


def test_somebody_elses_tree_is_cleaned_where_it_is(dataset: Dataset) -> None:
    tree = dataset.images.rename(dataset.root / "my photos")
    for name in ("embeddings.parquet", "clean.parquet"):
        dataset.path(name).unlink()
    shutil.rmtree(dataset.removed, ignore_errors=True)
    foreign = Dataset(images=tree)
    embed(foreign, EmbedOptions("classic"))
    with reviewed(tree, images=True) as server:
        server.decide([0], "remove", "drawing")
        assert apply(server)["state"] == "done"
        assert server.get("api/dataset")["waiting"] == 0
        assert server.get("api/photo/0")["reason"] == "drawing"
    assert (foreign.removed / "drawing" / "Amanita_muscaria" / "00.jpg").is_file()


def test_a_cleaning_that_cannot_begin_says_why_and_what_to_do(dataset: Dataset) -> None:
    with reviewed(dataset.root) as server:
        server.decide([0], "remove", "scenery")
        with dataset.lock("download"):
            event = apply(server)
        assert event["state"] == "failed"
        assert "is in use by 'shroomcurate download'" in event["what"]
        assert event["hint"]
        assert server.get("api/dataset")["waiting"] == 1
        assert server.get("api/dataset")["apply"] is None
        assert apply(server)["state"] == "done"  # nothing of it stays
        assert server.get("api/dataset")["waiting"] == 0


def test_a_second_apply_is_refused_while_the_first_runs_and_verdicts_given_meanwhile_are_kept(
    dataset: Dataset,
) -> None:
    with reviewed(dataset.root) as server:
        server.decide([0], "remove", "scenery")
        with applying(server) as events:
            generation = server.get("api/dataset")["generation"]
            assert server.get("api/dataset")["apply"]["state"] == "running"
            answer = server.post("api/apply", generation=generation)
            assert 400 <= answer.status_code < 500
            assert "already" in answer.json()["what"]
            said = {}
            number = 1
            while number < EACH and not said.get("end"):
                body = {"generation": generation, "photos": [number], "verdict": "remove", "tab": "t"}
                answer = server.post("api/verdicts", **body)
                if answer.status_code == 409:
                    break  # it has ended
                assert answer.status_code == 200
                said[number] = True
                number += 1
                time.sleep(0.1)
            assert [event["state"] for event in events][-1] == "done"
        known = read_verdicts(dataset)
        assert len(known) == len(said) + 1
        by_person = {
            row["path"]
            for row in read_table(dataset.path("clean.parquet")).to_pylist()
            if row["decided_by"] == "person"
        }
        about = server.get("api/dataset")
        assert about["waiting"] == len(known.keys() - by_person)
        assert [about["photos"]["verdict"][number] > 0 for number in said] == [True] * len(said)
        assert apply(server)["state"] == "done"
        assert server.get("api/dataset")["waiting"] == 0


def wait_until_free(dataset: Dataset) -> None:
    """Wait until no cleaning works on it any more."""
    for _ in range(300):
        try:
            with dataset.lock("test"):
                return
        except Busy:
            time.sleep(0.1)
    raise AssertionError("something still works on the dataset")


@pytest.mark.parametrize("pause", [0.0, 1.5])
def test_a_server_killed_while_it_applies_leaves_a_whole_dataset_that_the_next_cleaning_repairs(
    dataset: Dataset, pause: float
) -> None:
    whole = everything(dataset)
    with reviewed(dataset.root) as server:
        server.decide(list(range(10)), "remove", "scenery")
        with applying(server) as events:
            next(events)
            time.sleep(pause)
            server.process.send_signal(signal.SIGKILL)
    time.sleep(1)
    wait_until_free(dataset)
    assert everything(dataset) == whole
    assert len(read_verdicts(dataset)) == 10
    with reviewed(dataset.root) as server:
        assert server.get("api/dataset")["count"] == len(whole)
        assert apply(server)["state"] == "done"
    assert everything(dataset) == whole
    assert len(list((dataset.removed / "scenery").rglob("*.jpg"))) == 10


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_control_c_while_it_applies_ends_both_within_two_seconds(dataset: Dataset, pause: float) -> None:
    whole = everything(dataset)
    with reviewed(dataset.root) as server:
        server.decide(list(range(10)), "remove", "scenery")
        with applying(server) as events:
            next(events)
            time.sleep(pause)
            began = time.monotonic()
            assert server.interrupt() == 0
            assert time.monotonic() - began < END
    with dataset.lock("test"):  # the cleaning has ended with it
        assert everything(dataset) == whole


def test_without_the_weights_what_is_embedded_is_judged_again(tmp_path: Path) -> None:
    dataset = photos(tmp_path, noisy_classes())
    (dataset.images / "Boletus_edulis" / "new.jpg").write_bytes(jpeg(1))
    with reviewed(dataset.root, environment={"SHROOMCURATE_WEIGHTS": str(tmp_path / "nowhere")}) as server:
        event = apply(server)
        assert event["state"] == "done"
        assert event["summary"]["unjudged"] == ["images/Boletus_edulis/new.jpg"]
        dataset.path("embeddings.parquet").unlink()
        event = apply(server)
        assert event["state"] == "failed"
        assert "SHROOMCURATE_WEIGHTS" in event["what"]


def test_embeddings_that_are_lost_are_made_again_as_they_were(dataset: Dataset) -> None:
    """By the embedder that the cleaning knows: this one needs no weights, which the default would ask for."""
    dataset.path("embeddings.parquet").unlink()
    with reviewed(dataset.root) as server:
        assert apply(server)["state"] == "done"
    receipt = read_receipt(dataset.path("embeddings.parquet"))
    assert receipt is not None
    assert receipt.options["embedder"] == "classic"


def test_with_other_weights_than_then_nothing_is_embedded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones that were given with --weights may not be those that are found now."""
    dataset = photos(tmp_path, noisy_classes())
    table = read_table(dataset.path("embeddings.parquet"))
    receipt = Receipt("embed", {"embedder": EmbedOptions.embedder, "weights": "the hash of others"})
    write_table(dataset.path("embeddings.parquet"), table, receipt)
    before = dataset.path("embeddings.parquet").read_bytes()
    (tmp_path / "found.h5").write_bytes(b"found")
    monkeypatch.setattr("shroomcurate.backbone.find_weights", lambda _name: tmp_path / "found.h5")
    monkeypatch.setattr(sys, "argv", ["", str(dataset.images), ""])
    cleaning.main()
    assert dataset.path("embeddings.parquet").read_bytes() == before
    assert dataset.path("clean.parquet").exists()


def test_weights_that_are_missing_before_the_first_time_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images" / "A").mkdir(parents=True)
    (tmp_path / "images" / "A" / "1.jpg").write_bytes(jpeg(1))

    def missing(_name: str) -> Path:
        raise WeightsMissing("There are none.", "Get some.")

    monkeypatch.setattr("shroomcurate.backbone.find_weights", missing)
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "images"), ""])
    cleaning.main()
    assert capsys.readouterr().out == '{"state": "failed", "what": "There are none.", "hint": "Get some."}\n'


# -- the process -------------------------------------------------------------------------------------------------


def told_by(code: str, stop_after: float | None = None) -> list[Event]:
    """Run Python in the place of a cleaning and return what is told."""
    events: list[Event] = []

    async def run() -> None:
        again = Again([sys.executable, "-c", code], events.append)
        again.start()
        began = time.monotonic()
        while again.is_running and (stop_after is None or time.monotonic() - began < stop_after):
            await asyncio.sleep(0.02)
        await again.stop()
        assert not again.is_running

    asyncio.run(run())
    return events


def test_what_a_library_prints_between_the_events_disturbs_nobody() -> None:
    events = told_by(
        'print("Downloading data"); print("{}"); print("[1]"); print("\\x00\\xff"); print(3)\n'
        'print(\'{"state": "running", "label": "clean", "done": 1, "total": 2}\')\n'
        'print("1/2 [====>....]", end="\\r\\n"); print(\'{"state": "done", "summary": {}}\'); print("Bye")\n'
    )
    assert [event["state"] for event in events] == ["running", "running", "done"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('the reason')", "ValueError: the reason"),
        ("import sys; sys.exit(3)", "ended with code 3"),
        ("import os; os.kill(os.getpid(), 9)", "ended with code -9"),
        ('print(\'{"state": "running"}\')', "ended with code 0"),
        ("print('x' * (20 << 20))", "limit"),
    ],
)
def test_a_cleaning_that_breaks_off_is_told_with_its_last_words(code: str, words: str) -> None:
    events = told_by(code)
    assert events[-1]["state"] == "failed"
    assert words in events[-1]["what"]
    assert "shroomcurate clean" in events[-1]["hint"]


def test_a_command_that_is_not_there_is_told() -> None:
    events: list[Event] = []

    async def run() -> None:
        again = Again(["/nowhere/python"], events.append)
        again.start()
        while again.is_running:
            await asyncio.sleep(0.01)
        await again.stop()

    asyncio.run(run())
    assert events[-1]["state"] == "failed"
    assert "/nowhere/python" in events[-1]["what"]


def test_what_a_cleaning_has_started_ends_with_it_though_it_does_not_listen(tmp_path: Path) -> None:
    file = tmp_path / "processes"
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        f"open({str(file)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "time.sleep(600)\n"
    )
    began = time.monotonic()
    told_by(code, stop_after=2)
    assert time.monotonic() - began < 2 + END
    numbers = [int(line) for line in file.read_text().split()]
    assert len(numbers) == 2
    for _ in range(100):
        if not any(_lives(number) for number in numbers):
            return
        time.sleep(0.05)
    raise AssertionError("a process is left")


def _lives(number: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except FileNotFoundError:
        return False
