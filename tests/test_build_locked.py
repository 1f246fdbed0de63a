"""The lock: the same photos on another machine, or the names of those that are not to be had."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shroomcurate.build import Recipe, build_locked, read_recipe
from shroomcurate.build.lock import LINE, read_lock, write_lock
from shroomcurate.build.locked import _refuse_another, _set_aside
from shroomcurate.clean.tables import SCHEMA as CLEAN
from shroomcurate.dataset import Dataset, Receipt, make_table, write_table
from shroomcurate.download import SCHEMA as DOWNLOADS
from shroomcurate.errors import LOCK_UNMET, BadOption, DamagedFile, SourceMissing
from shroomcurate.report import report
from shroomcurate.select import SCHEMA as SELECTION
from shroomcurate.split import split
from shroomcurate.status import status
from tests.conftest import jpeg, selection_rows
from tests.fault_server import FaultServer
from tests.recipes import built, images, photo_server, write_toml

__all__ = ["built"]  # the fixture


@pytest.fixture
def elsewhere(built: tuple[Recipe, FaultServer], tmp_path: Path) -> Path:
    """A folder of another machine: the two files, no dump; and no database answers."""
    recipe, server = built
    write_toml(tmp_path, server)
    (tmp_path / "shroomcurate.lock").write_bytes(recipe.lock.read_bytes())
    return tmp_path


def kept_photos(folder: Path) -> dict[str, bytes]:
    return {path: content for path, content in images(Dataset(folder)).items() if path.startswith("images/")}


def locked(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "shroomcurate", "build", "--locked", "--json", *words]
    nowhere = {"SHROOMCURATE_HOME": str(folder / "home"), "SHROOMCURATE_DATABASE_URL": "postgresql://127.0.0.1:9/x"}
    ours = str(Path(__file__).parents[1] / "src")
    return subprocess.run(
        call, capture_output=True, text=True, check=False, cwd=folder, env=os.environ | nowhere | {"PYTHONPATH": ours}
    )


def test_without_dump_and_database_the_photos_are_the_same_to_the_byte(
    built: tuple[Recipe, FaultServer], elsewhere: Path
) -> None:
    found = build_locked(read_recipe(elsewhere / "shroomcurate.toml"))
    assert (found.met, found.lost, found.changed) == (True, {}, {})
    assert kept_photos(elsewhere / "dataset") == kept_photos(built[0].dataset)
    assert found.same == found.photos == len(kept_photos(elsewhere / "dataset"))

    ours, theirs = (Dataset(folder).frame("selection.parquet") for folder in (built[0].dataset, elsewhere / "dataset"))
    both = theirs.merge(ours, on="photo_id", suffixes=("", "_then"))
    assert len(both) == len(theirs)
    made_anew = {"photo_id", "photo_uuid", "rank_in_class", "role", "other_observations"}
    for name in set(theirs.columns) - made_anew:
        assert both[name].astype(str).tolist() == both[f"{name}_then"].astype(str).tolist(), name


def test_status_never_sends_anybody_to_a_command_that_changes_what_the_lock_holds(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere)
    recipe, dataset = read_recipe(Path("shroomcurate.toml")), Dataset(Path("dataset"))
    again = f"shroomcurate build --locked {dataset.option}"
    build_locked(recipe)
    assert status(dataset).next_command == f"shroomcurate report {dataset.option}"
    for victim in (next(dataset.images.glob("*/*")), dataset.path("selection.csv")):
        victim.unlink()
        assert status(dataset).next_command == again
        with monkeypatch.context() as outside:
            outside.chdir(elsewhere.parent)
            placed = Dataset(Path(elsewhere.name) / "dataset")
            said = f"shroomcurate build FOLDER_OF_THE_LOCK/shroomcurate.toml --locked {placed.option}"
            assert status(placed).next_command == said
            words = shlex.split(said.replace("FOLDER_OF_THE_LOCK", elsewhere.name))[2:]
            assert locked(elsewhere.parent, *words).returncode == 0
    report(dataset)
    found = status(dataset)
    assert [stage.state for stage in found.stages] == ["current", "current", "not needed", "not needed", "current"]
    assert found.next_command is None
    assert [*found.also] == [f"shroomcurate clean {dataset.option}"]
    split(dataset)  # as an export does
    assert {stage.stage: stage.state for stage in status(dataset).stages}["train-baseline"] == "not needed"


def test_photos_that_are_gone_or_changed_are_listed_and_the_others_come(
    built: tuple[Recipe, FaultServer], elsewhere: Path
) -> None:
    recipe, _ = built
    ids = sorted(int(Path(path).stem) for path in kept_photos(recipe.dataset))
    names = {int(Path(path).stem): path for path in kept_photos(recipe.dataset)}
    gone, changed = ids[0], ids[-1]
    with photo_server() as server:
        server.faults[gone] = "404"
        usual = server.content
        server.content = lambda photo_id, name: jpeg(99) if photo_id == changed else usual(photo_id, name)
        write_toml(elsewhere, server)
        ended = locked(elsewhere)
        assert ended.returncode == LOCK_UNMET, ended.stderr
        again = build_locked(read_recipe(elsewhere / "shroomcurate.toml"))
        for told in (json.loads(ended.stdout), asdict(again)):
            assert [Path(name).name for name in told["lost"]] == [str(gone)]
            assert [Path(name).name for name in told["changed"]] == [str(changed)]
            assert told["same"] == told["photos"] - 2
            there = kept_photos(elsewhere / "dataset")
            assert there == {
                path: content
                for path, content in kept_photos(recipe.dataset).items()
                if path not in (names[gone], names[changed])
            }
        server.faults.clear()
        server.content = usual
        assert build_locked(read_recipe(elsewhere / "shroomcurate.toml")).met
    assert kept_photos(elsewhere / "dataset") == kept_photos(recipe.dataset)


def test_a_photo_that_was_damaged_on_the_disk_comes_again(
    built: tuple[Recipe, FaultServer], elsewhere: Path, tmp_path: Path
) -> None:
    recipe = replace(built[0], dataset=tmp_path / "dataset", lock=elsewhere / "shroomcurate.lock")
    assert build_locked(recipe).met
    victim = next((tmp_path / "dataset" / "images").glob("*/*"))
    victim.write_bytes(bytes(victim.stat().st_size))
    assert build_locked(recipe).met
    assert kept_photos(tmp_path / "dataset") == kept_photos(recipe.dataset) == kept_photos(built[0].dataset)


def test_a_recipe_for_another_dataset_and_a_folder_with_another_one_are_refused(
    built: tuple[Recipe, FaultServer], tmp_path: Path
) -> None:
    recipe = built[0]
    with pytest.raises(BadOption, match="holds a selection of its own"):
        build_locked(recipe)
    fresh = replace(recipe, dataset=tmp_path / "dataset")
    for other, words in (
        (replace(fresh, query=replace(recipe.query, per_class=5)), "per-class = 12, and .query. says 5"),
        (replace(fresh, clean=replace(recipe.clean, eps=0.1)), "eps = 0.3, and .clean. says 0.1"),
        (replace(fresh, query=replace(recipe.query, region="conus")), "no region, and .query. says conus"),
        (replace(fresh, download=replace(recipe.download, size="small")), "size = medium, and .download. says small"),
    ):
        with pytest.raises(BadOption, match=words):
            build_locked(other)
    assert not fresh.dataset.exists()
    mirror_alone = Recipe(fresh.dataset, fresh.lock, download=replace(recipe.download, size="medium"))
    _refuse_another(mirror_alone, read_lock(fresh.lock))
    with pytest.raises(SourceMissing, match="There is no"):
        build_locked(replace(fresh, lock=tmp_path / "other.lock"))


def test_the_lock_holds_no_time_and_no_path_and_says_what_it_was_made_from(built: tuple[Recipe, FaultServer]) -> None:
    recipe = built[0]
    text = recipe.lock.read_text()
    assert str(recipe.lock.parent) not in text
    lock = read_lock(recipe.lock)
    assert set(lock.facts["dump"]) == {f"{name}.csv.gz" for name in ("taxa", "observations", "photos", "observers")}
    assert lock.options["query"]["seed"] == 0
    assert {"query", "clean", "numpy"} <= lock.facts["versions"].keys()
    assert len(lock.facts["sql"]) == 64


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("format = 1", "format = 2", "its format is 2"),
        (" jpg ", " ", "line 1 of the class"),
        ("photos = ", "photo = ", "cannot be read"),
        ("'''", "''", "cannot be read"),
        ("[options.", "[other.", "KeyError"),
        ("[options.download]\n", "[options.other]\n", "KeyError"),
        ("[options.download]\n", "[other]\n", "KeyError"),
        ("[options.query]\n", "[options]\nquery = 3\n[other]\n", "cannot be read"),
        ("\n1", f"\n1{'0' * 30}", "cannot be read"),
        ("[class.Amanita_muscaria]", '[class."../x"]', "'../x' is no name of a folder"),
        ("[class.Amanita_muscaria]", '[class.".hidden"]', "'.hidden' is no name of a folder"),
        ("[class.Amanita_muscaria]", '[class.""]', "'' is no name of a folder"),
    ],
)
def test_a_lock_that_is_none_is_named(
    built: tuple[Recipe, FaultServer], tmp_path: Path, old: str, new: str, why: str
) -> None:
    file = tmp_path / "shroomcurate.lock"
    file.write_text(built[0].lock.read_text().replace(old, new))
    with pytest.raises(DamagedFile, match=why):
        read_lock(file)


def test_a_folder_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="There is no file"):
        read_lock(tmp_path)


def test_the_same_changed_bytes_are_set_aside_once(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    for content in (b"a", b"a", b"b"):
        photo = dataset.images / "Boletus" / "7.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(content)
        _set_aside(dataset, "images/Boletus/7.jpg", hashlib.sha256(content).hexdigest())
    assert sorted(file.read_bytes() for file in (tmp_path / "unselected" / "Boletus").iterdir()) == [b"a", b"b"]
    assert not photo.parent.exists()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "class": st.sampled_from(["Amanita_muscaria", "Bœuf 'n'", "x.y", "0"]),
            "observer_id": st.one_of(st.none(), st.integers(1, 3)),
            "license": st.sampled_from(["CC0", "CC-BY", None]),
            "attribution": st.one_of(st.none(), TEXT.filter(bool)),
            "latitude": st.one_of(st.none(), st.floats(-90, 90)),
            "longitude": st.one_of(st.none(), st.floats(-180, 180)),
            "observed_on": st.one_of(st.none(), st.dates(date(1900, 1, 1))),
        }
    ),
    max_size=6,
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_what_is_written_is_read_whatever_names_people_have(tmp_path: Path, drawn: list[dict[str, Any]]) -> None:
    dataset = Dataset(tmp_path / "dataset")
    rows = [
        {**plain, **own, "class_name": f"{own['class']}?", "class_taxon_id": ord(own["class"][0])}
        for plain, own in zip(selection_rows(["A"], len(drawn)), drawn, strict=True)
    ]
    paths = [f"images/{row['class']}/{row['photo_id']}.jpg" for row in rows]
    hashes = [f"{number:064x}" for number in range(len(rows))]
    fetched = [
        {"photo_id": row["photo_id"], "path": path, "sha256": sha256}
        for row, path, sha256 in zip(rows, paths, hashes, strict=True)
    ]
    write_table(
        dataset.path("selection.parquet"), make_table(SELECTION, rows), Receipt("query", {"asked": {"a": "\x7f"}})
    )
    write_table(
        dataset.path("downloads.parquet"), make_table(DOWNLOADS, fetched), Receipt("download", {"size": "small"})
    )
    judged = [{"path": path, "kept": True} for path in paths]
    write_table(dataset.path("clean.parquet"), make_table(CLEAN, judged), Receipt("clean", {}))
    recipe = Recipe(dataset.root, tmp_path / "shroomcurate.lock")
    write_lock(dataset, recipe)
    lock = read_lock(recipe.lock)
    assert lock.options["query"] == {"a": "\x7f"}
    assert lock.size == "small"
    read = {row["photo_id"]: row for row in lock.photos}
    for row, sha256 in zip(rows, hashes, strict=True):
        same = {*LINE, "attribution", "class", "class_name", "class_taxon_id", "taxon_name"} - {"sha256"}
        assert {name: read[row["photo_id"]][name] for name in same} == {name: row[name] for name in same}
        assert read[row["photo_id"]]["sha256"] == sha256
