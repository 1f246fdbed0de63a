"""Verdicts given at the page: on disk before they are answered, taken back step by step, and nobody else's are lost."""

from __future__ import annotations

import csv
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shroomcurate.clean import clean
from shroomcurate.dataset import Dataset, Receipt, read_table, write_table
from shroomcurate.errors import DiskFull, NothingMatches
from shroomcurate.restore import restore
from shroomcurate.review.decisions import Decisions
from shroomcurate.tree import REASONS
from shroomcurate.verdicts import FILE, RESTORED, Verdict, append_verdicts, read_verdicts
from tests.cleaning import noisy_classes as three_classes
from tests.cleaning import photos, say
from tests.conftest import small_file_system
from tests.review_pages import judged
from tests.review_server import NO_TLS, Reviewed, reviewed
from tests.test_review_server import tree

KEEP, SCENERY, DRAWING = Verdict(True, None), Verdict(False, "scenery"), Verdict(False, "drawing")
ONE, TWO, THREE = (f"images/Amanita_muscaria/{number}.jpg" for number in range(3))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tree(tmp_path / "dataset"))


def lines(dataset: Dataset) -> list[list[str]]:
    with dataset.path(FILE).open(newline="") as handle:
        return list(csv.reader(handle))[1:]


# -- steps -------------------------------------------------------------------------------------------------------


def test_each_tab_takes_back_its_own_steps_the_last_one_first(dataset: Dataset) -> None:
    decisions = Decisions(dataset)
    decisions.decide([ONE], {ONE: KEEP}, "a")
    decisions.decide([TWO], {TWO: KEEP}, "b")
    decisions.decide([ONE, THREE], dict.fromkeys([ONE, THREE], SCENERY), "a")
    assert decisions.left("a") == 2
    assert decisions.undo("a") == ([ONE, THREE], 0)
    assert read_verdicts(dataset) == {ONE: KEEP, TWO: KEEP}
    assert decisions.undo("a") == ([ONE], 0)
    assert read_verdicts(dataset) == {TWO: KEEP}
    with pytest.raises(NothingMatches):
        decisions.undo("a")
    with pytest.raises(NothingMatches):
        decisions.undo("somebody who decided nothing")
    assert decisions.undo("b") == ([TWO], 0)
    assert read_verdicts(dataset) == {}


@pytest.mark.parametrize("word", [DRAWING, SCENERY, None], ids=str)
def test_an_undo_leaves_what_somebody_decided_since_be_it_the_same(dataset: Dataset, word: Verdict | None) -> None:
    decisions = Decisions(dataset)
    decisions.decide([ONE, TWO], dict.fromkeys([ONE, TWO], SCENERY), "a")
    decisions.decide([TWO], {TWO: word}, "b")
    assert decisions.undo("a") == ([ONE], 1)
    assert read_verdicts(dataset).get(TWO) == word
    assert decisions.undo("b") == ([TWO], 0)
    assert read_verdicts(dataset) == {TWO: SCENERY}  # as it was before b


def test_an_undo_leaves_what_an_editor_or_another_command_wrote_since(dataset: Dataset) -> None:
    decisions = Decisions(dataset)
    decisions.decide([ONE, TWO], dict.fromkeys([ONE, TWO], SCENERY), "a")
    append_verdicts(dataset, {TWO: DRAWING}, "somebody")
    assert decisions.refresh() == {TWO}
    assert decisions.undo("a") == ([ONE], 1)
    assert read_verdicts(dataset) == {TWO: DRAWING}


def test_an_undo_brings_back_what_was_written_before_the_step_though_by_somebody_else(dataset: Dataset) -> None:
    decisions = Decisions(dataset)
    append_verdicts(dataset, {ONE: DRAWING}, "somebody")
    decisions.refresh()
    decisions.decide([ONE], {ONE: KEEP}, "a")
    decisions.undo("a")
    assert read_verdicts(dataset) == {ONE: DRAWING}


def test_what_somebody_writes_in_the_middle_of_a_step_is_seen_at_the_next_look(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions = Decisions(dataset)

    def slow(*arguments: Any) -> tuple[int, int]:
        append_verdicts(dataset, {TWO: DRAWING}, "somebody who was faster")
        answer = append_verdicts(*arguments)
        append_verdicts(dataset, {THREE: DRAWING}, "somebody at once afterwards")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr("shroomcurate.review.decisions.append_verdicts", slow)
        decisions.decide([ONE], {ONE: KEEP}, "a")
    assert decisions.refresh() == {TWO, THREE}
    assert decisions.verdicts == {ONE: KEEP, TWO: DRAWING, THREE: DRAWING}
    assert decisions.undo("a") == ([ONE], 0)


def test_an_edit_that_keeps_the_files_size_is_seen(dataset: Dataset) -> None:
    """As when 'drawing' is made 'blurred', by an editor that puts a new file in the place of the old one."""
    decisions = Decisions(dataset)
    decisions.decide([ONE], {ONE: DRAWING}, "a")
    file = dataset.path(FILE)
    new = file.with_name("new")
    new.write_text(file.read_text().replace("drawing", "blurred"))
    new.replace(file)
    assert decisions.refresh() == {ONE}
    assert decisions.verdicts == {ONE: Verdict(False, "blurred")}
    assert decisions.undo("a") == ([], 1)
    file.unlink()
    assert decisions.refresh() == {ONE}
    assert decisions.verdicts == {}


def test_a_step_on_nothing_is_none(dataset: Dataset) -> None:
    decisions = Decisions(dataset)
    decisions.decide([], {}, "a")
    assert (decisions.left("a"), decisions.given) == (0, 0)
    assert not dataset.path(FILE).exists()


def test_on_a_full_disk_neither_the_verdict_nor_the_step_counts(tmp_path: Path) -> None:
    with small_file_system(tmp_path, 1) as disk:
        dataset = Dataset(tree(disk))
        decisions = Decisions(dataset)
        decisions.decide([ONE], {ONE: KEEP}, "a")
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(2_000_000))
        many = {f"images/Amanita_muscaria/{number}.jpg": SCENERY for number in range(500)}
        with pytest.raises(DiskFull):
            decisions.decide(list(many), many, "a")
        assert (decisions.verdicts, decisions.left("a")) == ({ONE: KEEP}, 1)
        filler.unlink()
        decisions.undo("a")
        assert read_verdicts(dataset) == {}


def test_an_undo_of_a_verdict_on_a_restored_photo_leaves_it_teaching_nothing(tmp_path: Path) -> None:
    dataset = photos(tmp_path, three_classes())
    clean(dataset)
    restore(dataset)
    path = next(iter(read_verdicts(dataset)))
    decisions = Decisions(dataset)
    assert not decisions.verdicts[path].teaches
    decisions.decide([path], {path: KEEP}, "a")
    assert read_verdicts(dataset)[path].teaches
    decisions.undo("a")
    assert read_verdicts(dataset)[path] == Verdict(True, None, teaches=False)
    assert lines(dataset)[-1][3] == RESTORED
    assert Decisions(dataset).verdicts == decisions.verdicts


tabs = st.sampled_from("ab")
words = st.sampled_from([KEEP, SCENERY, DRAWING, None])
acts = st.one_of(
    st.tuples(st.just("decide"), tabs, st.sets(st.sampled_from([ONE, TWO, THREE]), min_size=1), words),
    st.tuples(st.just("undo"), tabs, st.just(frozenset()), st.none()),
    st.tuples(st.just("elsewhere"), tabs, st.sets(st.sampled_from([ONE, TWO, THREE]), min_size=1), words),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(acts, max_size=12))
def test_whatever_is_done_the_file_and_the_server_know_the_same(dataset: Dataset, done: list[Any]) -> None:
    dataset.path(FILE).unlink(missing_ok=True)
    decisions = Decisions(dataset)
    for act, tab, chosen, word in done:
        decisions.refresh()
        before = read_verdicts(dataset)
        if act == "decide":
            decisions.decide(sorted(chosen), dict.fromkeys(sorted(chosen), word), tab)
        elif act == "elsewhere":
            append_verdicts(dataset, dict.fromkeys(sorted(chosen), word), "elsewhere")
            decisions.refresh()
        elif decisions.left(tab):
            back, _ = decisions.undo(tab)
            after = read_verdicts(dataset)
            untouched = (before.keys() | after.keys()) - set(back)
            assert all(before.get(path) == after.get(path) for path in untouched)
        assert decisions.verdicts == read_verdicts(dataset) == Decisions(dataset).verdicts


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sets(st.sampled_from([ONE, TWO, THREE]), min_size=1), words), max_size=8))
def test_one_tab_that_takes_back_every_step_is_where_it_began(dataset: Dataset, steps: list[Any]) -> None:
    dataset.path(FILE).unlink(missing_ok=True)
    append_verdicts(dataset, {ONE: DRAWING}, "before")
    decisions = Decisions(dataset)
    for chosen, word in steps:
        decisions.decide(sorted(chosen), dict.fromkeys(sorted(chosen), word), "a")
    for chosen, _ in reversed(steps):
        assert decisions.undo("a") == (sorted(chosen), 0)
    assert read_verdicts(dataset) == {ONE: DRAWING}


# -- over the wire -----------------------------------------------------------------------------------------------


@pytest.fixture
def server(dataset: Dataset) -> Iterator[Reviewed]:
    with reviewed(dataset.root) as found:
        yield found


def test_verdicts_are_answered_with_their_codes_and_told_to_every_page(server: Reviewed, dataset: Dataset) -> None:
    generation = server.get("api/dataset")["generation"]
    with server.events() as mine, server.events() as other:
        answer = server.decide([1, 0, 1], "remove", "too_far", tab="mine")
        code = 1 + 1 + list(REASONS).index("too_far")
        assert answer == {"generation": generation, "photos": [1, 0], "verdict": [code, code], "waiting": 2}
        for events in (mine, other):
            assert next(events) == ("verdicts", {**answer, "tab": "mine"})
        assert server.decide([0], "none", tab="mine")["verdict"] == [0]
        assert server.undo("mine").json() | {"generation": 0} == {
            "generation": 0, "photos": [0], "verdict": [code], "left": 1, "skipped": 0, "waiting": 2,
        }  # fmt: skip
    assert [row[:4] for row in lines(dataset)] == [
        [TWO, "remove", "too_far", "review"],
        [ONE, "remove", "too_far", "review"],
        [ONE, "none", "", "review"],
        [ONE, "remove", "too_far", "review"],
    ]


def test_a_removal_without_a_reason_has_that_of_the_cleaning_or_is_an_outlier(tmp_path: Path) -> None:
    dataset = photos(tmp_path, three_classes())
    say(dataset, "images/Amanita_muscaria/0000.jpg,remove,blurred,,")
    clean(dataset)
    with reviewed(dataset.root) as server:
        server.decide([0, 1], "remove")
        assert server.get("api/photo/0")["verdict"]["reason"] == "blurred"
        assert server.get("api/photo/1")["verdict"]["reason"] == "outlier"
        # What the cleaning went by is waiting for nothing; the other one is.
        assert server.get("api/dataset")["waiting"] == 1
        server.decide([0], "none")
        assert server.get("api/dataset")["waiting"] == 2


def test_what_is_written_elsewhere_reaches_the_page_with_its_next_question(server: Reviewed, dataset: Dataset) -> None:
    server.get("api/dataset")
    append_verdicts(dataset, {ONE: KEEP, "images/Nobody/1.jpg": KEEP}, "somebody")
    with server.events() as events:
        server.decide([1])
        assert next(events)[1] | {"generation": 1} == {
            "generation": 1, "photos": [0], "verdict": [1], "waiting": 1, "tab": "",
        }  # fmt: skip
        assert next(events)[1]["photos"] == [1]


def test_another_cleaning_makes_another_generation_and_verdicts_of_the_old_one_are_refused(tmp_path: Path) -> None:
    """Or they would be given to whatever photo has the number now."""
    dataset = photos(tmp_path, three_classes())
    clean(dataset)
    with reviewed(dataset.root) as server:
        old = server.get("api/dataset")
        with server.events() as events:
            (dataset.images / "Aa").mkdir()
            (dataset.images / "Aa" / "first.jpg").write_bytes(b"")
            say(dataset, "images/Amanita_muscaria/0000.jpg,remove,blurred,,")
            clean(dataset)
            body = {"generation": old["generation"], "photos": [0], "verdict": "keep", "reason": None, "tab": "t"}
            for url in ("api/verdicts", "api/undo"):
                answer = server.post(url, **body)
                assert (answer.status_code, answer.json()["error"]) == (409, 409)
            name, data = next(events)
            assert (name, data["generation"] != old["generation"]) == ("generation", True)
        new = server.get("api/dataset")
        assert new["generation"] == data["generation"]
        assert new["count"] == old["count"] + 1
        assert server.client.get(f"photo/0?g={old['generation']}").status_code == 409
        assert list(read_verdicts(dataset)) == ["images/Amanita_muscaria/0000.jpg"]
        assert server.post("api/verdicts", **body | {"generation": new["generation"]}).status_code == 200


def test_a_damaged_line_is_named_on_the_page_and_work_goes_on_once_it_is_mended(
    server: Reviewed, dataset: Dataset
) -> None:
    generation = server.get("api/dataset")["generation"]
    server.decide([0])
    whole = dataset.path(FILE).read_text()
    dataset.path(FILE).write_text(whole + f"{TWO},perhaps,,,\n")
    body = {"generation": generation, "photos": [2], "verdict": "keep", "reason": None, "tab": "t"}
    for answer in (
        server.client.get("api/dataset"),
        server.client.get("api/view?name=all"),
        server.post("api/verdicts", **body),
        server.post("api/undo", generation=generation, tab="tab"),
    ):
        told = answer.json()
        assert answer.status_code == 500
        assert f"{FILE}, line 3, verdict: 'perhaps'" in told["what"]
        assert "Correct or delete that line" in told["hint"]
    assert dataset.path(FILE).read_text() == whole + f"{TWO},perhaps,,,\n"
    dataset.path(FILE).write_text(whole + f"{TWO},remove,drawing,,\n")
    assert server.post("api/verdicts", **body).status_code == 200
    assert server.undo("tab").status_code == 200
    assert read_verdicts(dataset) == {TWO: DRAWING, THREE: KEEP}


def test_a_file_that_cannot_be_written_is_named(server: Reviewed, dataset: Dataset) -> None:
    server.get("api/dataset")
    generation = server.get("api/dataset")["generation"]
    dataset.path(FILE).mkdir()
    answer = server.post("api/verdicts", generation=generation, photos=[0], verdict="keep", reason=None, tab="t")
    assert answer.status_code == 500
    assert FILE in answer.json()["what"]


def test_a_table_that_is_being_damaged_is_named_and_the_server_lives(server: Reviewed, dataset: Dataset) -> None:
    server.get("api/dataset")
    dataset.path("clean.parquet").write_bytes(b"no table")
    answer = server.client.get("api/dataset")
    assert answer.status_code == 500
    assert "clean.parquet cannot be read" in answer.json()["what"]
    dataset.path("clean.parquet").unlink()
    assert server.get("api/dataset")["count"] == 8


def test_restore_after_review_brings_back_what_the_page_removed(tmp_path: Path) -> None:
    dataset = photos(tmp_path, three_classes())
    clean(dataset)
    with reviewed(dataset.root) as server:
        server.decide([0], "remove", "scenery")
        clean(dataset)
        assert server.get("api/dataset")["waiting"] == 0
        assert server.get("api/photo/0")["reason"] == "scenery"
        restore(dataset)
        about = server.get("api/dataset")
        assert about["photos"]["verdict"][0] == 1
        assert about["waiting"] == 0
        assert server.get("api/photo/0")["there"]
        assert server.client.get("photo/0").status_code == 200
    assert read_verdicts(dataset)["images/Amanita_muscaria/0000.jpg"] == Verdict(True, None, teaches=False)


# -- kills -------------------------------------------------------------------------------------------------------


def test_a_verdict_that_was_answered_is_in_the_file_though_the_server_is_killed_at_once(dataset: Dataset) -> None:
    expected: dict[str, Verdict] = {}
    for turn in range(3):
        with reviewed(dataset.root) as server:
            about = server.get("api/dataset")
            assert about["photos"]["verdict"] == [1] * turn + [0] * (8 - turn)
            body = {"generation": about["generation"], "photos": [turn], "verdict": "keep", "reason": None, "tab": "t"}
            server.post("api/verdicts", **body)
            server.process.send_signal(signal.SIGKILL)
        folder = ("Amanita_muscaria", "Boletus_edulis")[turn // 4]
        expected[f"images/{folder}/{turn % 4}.jpg"] = KEEP
        assert read_verdicts(dataset) == expected


def test_a_server_killed_while_it_writes_loses_no_verdict_that_it_answered(tmp_path: Path) -> None:
    """Long writes, so that the kill often meets one."""
    dataset = Dataset(tree(tmp_path / "dataset", each=300))
    every = list(range(600))
    for turn in range(2):
        answered: list[str] = []
        with reviewed(dataset.root) as server:
            generation = server.get("api/dataset")["generation"]

            def click(server: Reviewed = server, generation: int = generation, said: list[str] = answered) -> None:
                for word in ["scenery", "drawing"] * 500:
                    body = {"generation": generation, "photos": every, "verdict": "remove", "reason": word, "tab": "t"}
                    try:
                        answer = httpx.post(f"{server.url}api/verdicts", json=body, timeout=60, verify=NO_TLS)
                    except httpx.HTTPError:
                        return
                    assert answer.status_code == 200
                    said.append(word)

            clicker = threading.Thread(target=click)
            clicker.start()
            while len(answered) < 3:
                time.sleep(0.001)
            time.sleep(turn * 0.003)
            os.kill(server.process.pid, signal.SIGKILL)
            clicker.join()
        last = {verdict.reason for verdict in read_verdicts(dataset).values()}
        assert len(read_verdicts(dataset)) == 600
        after = {"scenery": "drawing", "drawing": "scenery"}[answered[-1]]
        assert last <= {answered[-1], after}  # what was being written may be there or not


# -- damaged tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clean.parquet", "selection.parquet", "runs/20261101-probe/predictions.parquet"])
def test_a_table_without_a_column_is_named_and_no_verdict_is_refused_for_good(tmp_path: Path, name: str) -> None:
    dataset = judged(tmp_path / "fungi")
    with reviewed(dataset.root) as server:
        generation = server.get("api/dataset")["generation"]
        table = read_table(dataset.path(name))
        table = table.drop_columns([{"clean": "score", "selection": "photo_id"}.get(Path(name).stem, "calibrated")])
        write_table(dataset.path(name), table, Receipt("test", {}))
        os.utime(dataset.path("clean.parquet"))
        body = {"generation": generation, "photos": [0], "verdict": "keep", "reason": None, "tab": "t"}
        for answer in (server.post("api/verdicts", **body), server.client.get("api/dataset")):
            assert answer.status_code == 500, answer.text
            assert f"{Path(name).name} cannot be read" in answer.json()["what"]
    assert read_verdicts(dataset) == {}


def test_damaged_embeddings_are_named_in_the_view_that_needs_them(tmp_path: Path) -> None:
    dataset = judged(tmp_path / "fungi")
    with reviewed(dataset.root) as server:
        dataset.path("embeddings.parquet").write_bytes(b"no table")
        answer = server.client.get("api/view?name=useful")
        assert answer.status_code == 500, answer.text
        assert "embeddings.parquet cannot be read" in answer.json()["what"]
        assert server.get("api/view", name="all")["order"]


def test_an_open_page_hears_of_a_cleaning_in_a_terminal_without_asking(server: Reviewed, dataset: Dataset) -> None:
    before = server.get("api/dataset")["generation"]
    with server.events() as events:
        dataset.path("embeddings.parquet").touch()  # the first that a cleaning leaves
        name, data = next(events)
    assert name == "generation"
    assert data["generation"] != before
