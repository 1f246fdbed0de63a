"""A dataset made from one recipe: N clean photos of each class, nothing done twice, killed or not."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shroomcurate import __version__
from shroomcurate.build import BuildSummary, Recipe, Step, build, plan
from shroomcurate.build.due import Standing, export_due, train_due
from shroomcurate.build.turns import _is_end
from shroomcurate.catalogue.load import LoadOptions
from shroomcurate.cli import app
from shroomcurate.dataset import Dataset, read_table
from shroomcurate.errors import BadOption, DamagedFile, NetworkDown
from shroomcurate.export import ExportOptions, export
from shroomcurate.progress import silent
from shroomcurate.report import ReportOptions
from shroomcurate.runs import METRICS, make_latest
from shroomcurate.select import QueryOptions
from shroomcurate.split import split
from shroomcurate.status import status
from shroomcurate.status.look import Look
from shroomcurate.training import TrainOptions, planned_run
from shroomcurate.verdicts import Verdict, append_verdicts
from tests.fault_server import FaultServer
from tests.recipes import PER_CLASS, built, copy_of, images, kept, photo_server, write_toml

__all__ = ["built"]  # the fixture


@pytest.fixture
def world(built: tuple[Recipe, FaultServer], tmp_path: Path) -> tuple[Recipe, FaultServer]:
    """A copy of the finished dataset, to do anything with."""
    return copy_of(built[0], tmp_path), built[1]


@pytest.fixture
def fresh(built: tuple[Recipe, FaultServer], tmp_path: Path) -> tuple[Recipe, FaultServer]:
    """Nothing but the catalogue."""
    return replace(built[0], dataset=tmp_path / "dataset", lock=tmp_path / "shroomcurate.lock"), built[1]


def ran(found: BuildSummary) -> list[str]:
    return [step.stage for step in found.steps if step.why is not None]


class TestABuild:
    def test_gives_n_clean_photos_where_there_are_and_says_why_where_not(
        self, fresh: tuple[Recipe, FaultServer], capfd: pytest.CaptureFixture[str]
    ) -> None:
        recipe, server = fresh
        told: list[tuple[Step, object]] = []
        asked = len(server.requests)
        assert [step.stage for step in plan(recipe) if step.why] == ["query", "download", "clean"]
        assert not recipe.dataset.exists(), "a plan changes nothing"
        assert len(server.requests) == asked

        found = build(recipe, tell=lambda step, result: told.append((step, result)))
        dataset = Dataset(recipe.dataset)
        assert capfd.readouterr() == ("", "")
        assert kept(dataset) == {
            "Amanita_muscaria": PER_CLASS,
            "Amanita_vaginata": found.classes["Amanita_vaginata"].kept,
            "Boletus_edulis": PER_CLASS,
        }
        assert found.turns > 1, "the reserve had nothing to fill"
        assert ran(found)[:3] == ["query", "download", "clean"]
        assert [step for step, result in told if result is None] == found.steps
        assert [step for step, result in told if result is not None] == [step for step in found.steps if step.why]

        short = found.classes["Amanita_vaginata"]
        assert (short.asked, short.available, short.reserve_left) == (PER_CLASS, 10, 0)
        assert short.kept + short.gone + short.corrupt + sum(short.removed.values()) == 10
        assert found.shortages == {"Amanita_vaginata": PER_CLASS - short.kept}
        assert short.why.startswith("the catalogue has 10; 1 gone")
        assert short.removed["duplicate"] > 0
        assert f"{short.removed['duplicate']} duplicate; the reserve is used up" in short.why
        assert replace(short, reserve_left=3).why.endswith("; 3 left in reserve")
        assert not found.classes["Boletus_edulis"].why
        assert {stage.state for stage in status(dataset).stages[:3]} == {"current"}

        lock, asked = recipe.lock.read_bytes(), len(server.requests)
        again = build(recipe)
        assert ran(again) == []
        assert len(server.requests) == asked
        assert recipe.lock.read_bytes() == lock
        assert not [step for step in plan(recipe) if step.why]

    def test_runs_again_what_an_option_changes_and_what_follows(self, world: tuple[Recipe, FaultServer]) -> None:
        recipe, server = world
        stricter = replace(recipe, clean=replace(recipe.clean, eps=0.2))
        assert [(step.stage, step.why) for step in plan(stricter) if step.why] == [("clean", "eps was 0.3, is 0.2")]
        smaller = replace(
            recipe,
            query=replace(recipe.query, per_class=5),
            export=ExportOptions(split=False),
            report=ReportOptions(note="five"),
        )
        why = {step.stage: step.why for step in plan(smaller)}
        assert why["query"] == "per-class was 12, is 5"
        assert why["download"] == why["clean"] == "after query"
        assert why["export"] == why["report"] == "it has not run yet"
        asked = len(server.requests)
        found = build(smaller)
        assert ran(found)[:2] == ["query", "download"]
        assert ran(found)[-2:] == ["export", "report"]
        assert set(kept(Dataset(recipe.dataset)).values()) == {5}
        assert len(server.requests) == asked, "what is here is not fetched again"
        assert not [step for step in plan(smaller) if step.why]
        other = replace(smaller, report=ReportOptions(note="other"))
        assert [step.stage for step in plan(other) if step.why] == ["report"]
        licensed = replace(smaller, export=ExportOptions(split=False, licenses="CC-BY"))
        assert next((step.stage, step.why) for step in plan(licensed) if step.why) == (
            "export",
            "licenses was any, is CC-BY",
        )

    def test_heeds_a_verdict_and_fills_the_place(self, world: tuple[Recipe, FaultServer]) -> None:
        recipe, _ = world
        dataset = Dataset(recipe.dataset)
        path = f"images/Boletus_edulis/{min(file.name for file in (dataset.images / 'Boletus_edulis').iterdir())}"
        append_verdicts(dataset, {path: Verdict(False, "person")})
        found = build(recipe)
        assert ran(found)[0] == "clean"
        assert found.classes["Boletus_edulis"].removed["person"] == 1
        assert kept(dataset)["Boletus_edulis"] == PER_CLASS

    def test_that_the_server_does_not_answer_ends_it_there(self, fresh: tuple[Recipe, FaultServer]) -> None:
        recipe, _ = fresh
        nowhere = replace(recipe.download, base_url="http://127.0.0.1:9", attempts=1)
        with pytest.raises(NetworkDown):
            build(replace(recipe, download=nowhere))
        assert not recipe.lock.exists()
        assert [step.stage for step in plan(recipe) if step.why] == ["download", "clean"]

    def test_needs_no_catalogue_once_it_has_a_selection(
        self, world: tuple[Recipe, FaultServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe, _ = world
        monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "another machine"))
        elsewhere = replace(recipe, load=LoadOptions("not here"), database_url="postgresql://127.0.0.1:9/nowhere")
        assert ran(build(elsewhere)) == []
        assert [step.why for step in plan(replace(elsewhere, query=replace(recipe.query, per_class=5)))][:2] == [
            "nothing has been loaded from this machine",
            "per-class was 12, is 5",
        ]


def test_a_file_that_the_recipe_names_is_missed_before_anything_is_loaded(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path / "dataset", load=LoadOptions("dump"), query=QueryOptions(names=tmp_path / "names.txt"))
    for make in (plan, build):
        with pytest.raises(BadOption, match=r"names\.txt"):
            make(recipe)


def test_options_of_an_earlier_run_make_it_the_latest_again(world: tuple[Recipe, FaultServer]) -> None:
    recipe, _ = world
    dataset = Dataset(recipe.dataset)
    split(dataset, recipe.split)
    first, second = (TrainOptions(mode="probe", seed=seed) for seed in (1, 2))
    for options in (first, second):
        run = dataset.path("runs") / planned_run(dataset, options)
        run.mkdir(parents=True)
        (run / METRICS).write_text('{"inputs": {}}')
        make_latest(run)
    with Look(dataset, silent) as look:
        assert train_due(look, replace(recipe, train=(first, second))) is None
        assert train_due(look, replace(recipe, train=(first,))) == "the latest run is one with other options"


def test_an_export_is_made_anew_when_its_files_are_others_or_another_version_wrote_it(
    world: tuple[Recipe, FaultServer],
) -> None:
    recipe = replace(world[0], export=ExportOptions(split=False, link="hard"))
    dataset = Dataset(recipe.dataset)
    folder = Path(export(dataset, None, recipe.export).folder)  # type: ignore[arg-type]
    manifest, photo = folder / "MANIFEST.json", min(folder.rglob("*.jpg"))
    text, whole = manifest.read_text(), photo.read_bytes()

    def due() -> str | None:
        with Look(dataset, silent) as look:
            return export_due(look, recipe)

    assert due() is None
    photo.unlink()
    assert due() == f"{photo.relative_to(folder)} in it is gone"
    photo.write_bytes(whole[:-1])
    assert due() == f"{photo.relative_to(folder)} in it is another one"
    photo.write_bytes(whole)
    manifest.write_text(text.replace(f'\n "version": "{__version__}"', '\n "version": "0.0"'))
    assert due() == "another version wrote it"
    manifest.write_text(text[:-9])
    with pytest.raises(DamagedFile) as raised:
        due()
    assert raised.value.hint == f"Move {folder} away, and type: shroomcurate build"


def in_a_file(world: tuple[Recipe, FaultServer], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipe as a person writes it, and its database where the command looks."""
    recipe, server = world
    monkeypatch.setenv("SHROOMCURATE_DATABASE_URL", str(recipe.database_url))
    return write_toml(folder, server, Path(recipe.load.sources[0]))  # type: ignore[union-attr]


def test_the_command_says_what_it_does_what_each_class_has_and_why_one_is_short(
    world: tuple[Recipe, FaultServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, _ = world
    file = in_a_file(world, tmp_path, monkeypatch)
    planned = CliRunner().invoke(app, ["build", str(file), "--dry-run"])
    assert "Nothing was done" not in planned.output
    assert "there is nothing to do" in planned.output
    done = CliRunner().invoke(app, ["build", str(file)])
    assert done.exit_code == 0, done.output
    for stage in ("load-csvs", "query", "download", "clean"):
        assert f"{stage:<16}current" in done.output
    assert f"Amanita_vaginata lacks {PER_CLASS - kept(Dataset(recipe.dataset))['Amanita_vaginata']}" in done.output
    assert "2 of 3 classes have all 12" in done.output
    head, *classes = re.findall(r"^(?:class|[A-Z]\w+_\w+)  .*", done.output, re.MULTILINE)
    assert head.split() == ["class", "asked", "catalogue", "reserve", "left", "lost", "removed", "kept"]
    there = {line.split()[0]: line.split()[1:4] for line in classes}
    assert there["Amanita_vaginata"] == [str(PER_CLASS), "10", "0"]
    assert 0 < int(there["Amanita_muscaria"][2]) < 30
    file.write_text(file.read_text().replace("per-class = 12", "per-class = 5"))
    planned = CliRunner().invoke(app, ["build", str(file), "--dry-run", "--json"])
    steps = {step["stage"]: step for step in json.loads(planned.stdout)["steps"]}
    assert steps["query"] == {"stage": "query", "why": "per-class was 12, is 5", "runs": True}


def test_what_a_stage_says_of_its_options_is_said_of_the_file(
    fresh: tuple[Recipe, FaultServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = in_a_file(fresh, tmp_path, monkeypatch)
    for option, said in {
        "min-per-class = 1000": "min-per-class below [query]",
        'quality = "any"': "taxon, quality below [load-csvs]",
    }.items():
        file.write_text(file.read_text().replace("species = 3", option))
        ended = CliRunner().invoke(app, ["build", str(file)])
        assert ended.exit_code, ended.output
        assert ended.stderr.splitlines()[-1] == f"In shroomcurate.toml: {said}", ended.stderr
        file.write_text(file.read_text().replace(option, "species = 3"))


def test_of_a_circle_the_best_standing_is_taken_wherever_the_way_came_into_it() -> None:
    circle = [Standing(0, 2, "b"), Standing(1, 0, "c"), Standing(0, 1, "a")]
    for start in range(3):
        way = [Standing(9, 0, "x")]
        for step in range(20):
            here = circle[(start + step) % 3]
            if _is_end(here, way):
                break
            way.append(here)
        assert here == Standing(0, 1, "a")
        assert step >= 3, "it was left before it was gone round"


def lasting(dataset: Dataset) -> dict[str, object]:
    """All that a dataset holds, without what hangs on the run: when was asked, and how often."""
    passing = {"attempts", "fetched_at", "error"}
    rows = read_table(dataset.path("downloads.parquet")).to_pylist()
    return {
        "images": images(dataset),
        "downloads": [{key: value for key, value in row.items() if key not in passing} for row in rows],
        **{
            name: dataset.path(name).read_bytes()
            for name in ("selection.parquet", "embeddings.parquet", "clean.parquet")
        },
    }


def test_killed_it_goes_on_and_ends_with_the_same_bytes(
    built: tuple[Recipe, FaultServer], fresh: tuple[Recipe, FaultServer], tmp_path: Path
) -> None:
    recipe, smooth = fresh[0], built[0]
    chance = random.Random(5)
    with photo_server(delay=0.01) as server:
        file = write_toml(tmp_path, server, smooth.lock.parent / "dump")
        call = [sys.executable, "-m", "shroomcurate", "build", str(file), "--database-url", str(recipe.database_url)]
        pipe = subprocess.PIPE
        # Amid the first download, and as cleaning begins to move photos.
        for number, sign in enumerate(("images/*/*", "clean.parquet")):
            process = subprocess.Popen([*call, "--json"], stdout=pipe, stderr=pipe)
            before = set(recipe.dataset.glob(sign))
            until = time.monotonic() + 60
            while process.poll() is None and not set(recipe.dataset.glob(sign)) - before and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(chance.random() * 0.01)
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL, f"it ended by itself before kill {number + 1}"
        ended = subprocess.run([*call, "--json"], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["shortages"].keys() == {"Amanita_vaginata"}
    assert lasting(Dataset(recipe.dataset)) == lasting(Dataset(smooth.dataset))
    assert recipe.lock.read_bytes() == smooth.lock.read_bytes()
    assert not list(recipe.dataset.rglob("*.partial"))
