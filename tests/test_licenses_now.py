"""What a newer catalogue says of a selection's photos, and the command that asks it: ``download --recheck``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from shroomcurate.catalogue.load import LoadOptions, load_csvs
from shroomcurate.cli import app
from shroomcurate.dataset import Dataset, read_table
from shroomcurate.errors import StageMissing
from shroomcurate.select import QueryOptions, licenses_now, query
from tests.dumps import EDULIS, MUSCARIA, VAGINATA, Dump
from tests.fault_server import running
from tests.test_download import rows
from tests.test_recheck import Bucket

Load = Callable[..., None]


@pytest.fixture
def load(tmp_path: Path, database_url: str) -> Load:
    """Load a dump in place of the one before: `load(dump)`."""

    def run(dump: Dump, name: str = "dump", **options: Any) -> None:
        load_csvs(LoadOptions(dump.write(tmp_path / name), force=True, **options), database_url)

    return run


@pytest.fixture(autouse=True)
def one_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process judges photos: to start more takes longer than these few photos."""
    monkeypatch.setattr("os.cpu_count", lambda: 0)


def made(without: tuple[int, ...] = (), **licenses: str) -> Dump:
    """Photos 1000.., 2000.. and 3000.. of a species each, but for those of `without`; `photo_1001="CC0"` relicenses."""
    dump = Dump()
    for taxon_id, first in ((MUSCARIA, 1000), (VAGINATA, 2000), (EDULIS, 3000)):
        for number in range(first, first + 4):
            if taxon_id not in without and number not in without:
                dump.observation(number, taxon_id)
                dump.photo(number, number, license=licenses.get(f"photo_{number}", "CC-BY"))
    return dump


IDS = {*range(1000, 1004), *range(2000, 2004), *range(3000, 3004)}


@pytest.fixture
def dataset(tmp_path: Path, database_url: str, load: Load) -> Dataset:
    """A selection of all photos but two of each class, which are its reserve."""
    load(made())
    selected = Dataset(tmp_path / "dataset")
    query(selected, QueryOptions(per_class=2, reserve=2, min_per_class=1), database_url)
    assert set(read_table(selected.path("selection.parquet"))["photo_id"].to_pylist()) == IDS
    return selected


def test_without_a_catalogue_there_is_nothing_to_compare(
    dataset: Dataset, database_url: str, rows_of: Callable[..., Any]
) -> None:
    rows_of("DROP SCHEMA inaturalist CASCADE")
    assert licenses_now(dataset, database_url) == (None, "no dump has been loaded")


def test_without_a_selection_query_is_named(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(StageMissing) as caught:
        licenses_now(Dataset(tmp_path), database_url)
    assert "query" in caught.value.hint


def test_the_catalogue_of_the_selection_has_nothing_new(dataset: Dataset, database_url: str, load: Load) -> None:
    found, why = licenses_now(dataset, database_url)
    assert found is None
    assert "still the one that the selection came from" in str(why)
    load(made())
    assert licenses_now(dataset, database_url) == (None, why), "the same files, loaded again"


def test_a_newer_dump_tells_of_every_photo_of_the_classes_it_knows(
    dataset: Dataset, database_url: str, load: Load
) -> None:
    load(made(without=(EDULIS, 1002), photo_1001="CC0", photo_2003="CC-BY-NC"))
    assert licenses_now(dataset, database_url) == (
        {number: "CC-BY" for number in IDS if number < 3000} | {1001: "CC0", 1002: None, 2003: "CC-BY-NC"},
        None,
    )


def test_photos_without_a_licence_and_of_lower_grade_are_not_held(
    dataset: Dataset, database_url: str, load: Load
) -> None:
    dump = made(photo_1001="")
    dump.rows["observations"][2]["quality_grade"] = "needs_id"
    load(dump)
    found = licenses_now(dataset, database_url).licenses
    assert found == dict.fromkeys(IDS, "CC-BY") | {1001: None, 1002: None}


@pytest.mark.parametrize("names", [("Amanita muscaria",), ("Amanita", "Boletus")])
def test_what_was_not_loaded_is_not_withdrawn(
    dataset: Dataset, database_url: str, load: Load, names: tuple[str, ...]
) -> None:
    load(made(photo_1000="CC0"), taxa=names)
    found, why = licenses_now(dataset, database_url)
    assert found is None
    assert " and ".join(names) in str(why)


@pytest.mark.parametrize("narrower", ["genus", "quality"])
def test_nor_is_what_was_loaded_in_part(tmp_path: Path, database_url: str, load: Load, narrower: str) -> None:
    dump = made()
    dump.rows["observations"][0]["quality_grade"] = "needs_id"
    load(dump, quality="any")
    selected = Dataset(tmp_path / "dataset")
    rank = "genus" if narrower == "genus" else "species"
    query(selected, QueryOptions(per_class=8, min_per_class=1, quality="any", rank=rank), database_url)
    dump.photographed(EDULIS, 1, first=9000)
    load(dump, **({"taxa": ("Amanita muscaria",), "quality": "any"} if narrower == "genus" else {}))
    found, why = licenses_now(selected, database_url)
    assert found is None
    assert "catalogue holds" in str(why)


def test_what_the_api_gave_is_only_a_part(dataset: Dataset, tmp_path: Path, database_url: str, load: Load) -> None:
    (tmp_path / "api" / "pages").mkdir(parents=True)
    load(made(without=(1001,)), "api/dump")
    found, why = licenses_now(dataset, database_url)
    assert found is None
    assert "API" in str(why)


def test_the_command_takes_out_what_was_withdrawn_and_fills_it_up(
    dataset: Dataset, database_url: str, load: Load
) -> None:
    def run(*words: str) -> Any:
        options = ["--dataset", str(dataset.root), "--database-url", database_url, "--base-url", server.url]
        result = CliRunner().invoke(app, ["download", *options, *words])
        assert result.exit_code == 0, result.output
        return result

    with running(Bucket()) as server:
        run()
        here = {photo_id: row["class"] for photo_id, row in rows(dataset).items()}
        assert len(here) == 6
        said = " ".join(run("--recheck").output.split())
        assert "6 photos asked about again; 0 moved" in said
        assert "Licences were not compared: the catalogue is still the one" in said
        relicensed, gone, taken_down = (min(i for i in here if i // 1000 == thousand) for thousand in (1, 2, 3))
        load(made(without=(gone,), **{f"photo_{relicensed}": "CC0"}))
        server.faults[taken_down] = "404"
        summary = json.loads(run("--recheck", "--json").stdout)
    assert summary["recheck"] == {
        "checked": 6,
        "withdrawn": {
            "relicensed from CC-BY to CC0": 1,
            "withdrawn: no longer in the catalogue, or no longer of its grade": 1,
            "withdrawn: the server answered 404": 1,
        },
        "unanswered": 0,
        "licenses_checked": True,
        "requests": 6,
    }
    assert summary["statuses"] == {"gone": 3, "ok": 6}
    assert (summary["fetched"], summary["from_reserve"], summary["shortages"]) == (3, 3, {})
    places = {f"{here[number]}/{number}.jpg" for number in (relicensed, gone, taken_down)}
    removed = dataset.removed / "withdrawn"
    assert {str(file.relative_to(removed)) for file in removed.rglob("*.jpg")} == places
    assert read_table(dataset.path("downloads.parquet"))["status"].to_pylist().count("ok") == len(dataset.photos())
