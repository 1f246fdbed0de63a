"""The benchmark's dump looks like the real one to whoever reads it: otherwise its figures say nothing."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.dump import CHUNK, HEADERS, LICENSE, QUALITY, DumpOptions, write_dump
from shroomcurate.catalogue.load import LoadOptions, load_csvs

SMALL = DumpOptions(observations=4_000, taxa=2_000, seed=7)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dump")
    write_dump(SMALL, folder / "plain", folder / "gz")
    return folder


@pytest.fixture(scope="module")
def tables(dump: Path) -> dict[str, pd.DataFrame]:
    return {
        table: pd.read_csv(dump / "plain" / f"{table}.csv", sep="\t", quoting=3, dtype=str, keep_default_na=False)
        for table in HEADERS
    }


def test_packed_and_plain_files_are_the_same_and_the_seed_decides_their_bytes(dump: Path, tmp_path: Path) -> None:
    write_dump(SMALL, None, tmp_path / "again")
    write_dump(DumpOptions(SMALL.observations, SMALL.taxa, seed=8), None, tmp_path / "other")
    for table in HEADERS:
        name = f"{table}.csv.gz"
        assert gzip.decompress((dump / "gz" / name).read_bytes()) == (dump / "plain" / f"{table}.csv").read_bytes()
        assert (dump / "gz" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert (dump / "gz/photos.csv.gz").read_bytes() != (tmp_path / "other/photos.csv.gz").read_bytes()


def test_shares_are_those_of_the_real_dump(tables: dict[str, pd.DataFrame]) -> None:
    observations, photos, taxa = tables["observations"], tables["photos"], tables["taxa"]
    assert len(observations) == SMALL.observations
    assert len(photos) / len(observations) == pytest.approx(1.7, abs=0.1)
    fungi = taxa[taxa.ancestry.str.contains(r"/(?:47169|48250)(?:/|$)")].taxon_id
    assert observations.taxon_id.isin(fungi).mean() == pytest.approx(0.06, abs=0.015)
    for quality, share in QUALITY.items():
        assert (observations.quality_grade == quality).mean() == pytest.approx(share, abs=0.03)
    for license_, share in LICENSE.items():
        assert (photos.license == license_).mean() == pytest.approx(share, abs=0.02)
    assert 0 < (observations.taxon_id == "").mean() < 0.03
    assert 0 < (observations.latitude == "").mean() < 0.03
    assert 0 < (observations.observed_on == "").mean() < 0.03


def test_it_holds_what_surprises_readers(tables: dict[str, pd.DataFrame]) -> None:
    observations, photos, taxa = tables["observations"], tables["photos"], tables["taxa"]
    identified = observations.taxon_id[observations.taxon_id != ""]
    assert not identified.isin(taxa.taxon_id).all(), "unknown taxa"
    assert identified.isin(taxa.taxon_id[taxa.active == "false"]).any(), "inactive taxa"
    again = photos[photos.photo_id.duplicated(keep=False)]
    assert 0 < len(again) < 0.01 * len(photos)
    assert again.groupby("photo_id").photo_uuid.nunique().eq(1).all(), "a repeated photo is one photo"
    assert again.groupby("photo_id").observation_uuid.nunique().gt(1).all(), "of several observations"
    assert not photos.observation_uuid.isin(observations.observation_uuid).all(), "orphans"
    assert tables["observers"].name.str.contains('"').any()
    assert "471690" in set(taxa.taxon_id), "begins like Basidiomycota"


def test_every_line_of_ids_leads_to_the_root(tables: dict[str, pd.DataFrame]) -> None:
    taxa = tables["taxa"]
    lines = dict(zip(taxa.taxon_id, taxa.ancestry, strict=True))
    assert taxa.taxon_id.is_unique
    for ancestry in taxa.ancestry[1:]:
        above, _, parent = ancestry.rpartition("/")
        assert lines[parent] == above


def test_uuids_and_ids_are_unique_and_in_no_order_across_chunks(tmp_path: Path) -> None:
    options = DumpOptions(observations=CHUNK + 50, taxa=500)
    write_dump(options, tmp_path, None)
    observations = pd.read_csv(tmp_path / "observations.csv", sep="\t", usecols=["observation_uuid"]).observation_uuid
    photos = pd.read_csv(tmp_path / "photos.csv", sep="\t", usecols=["photo_uuid", "photo_id"])
    assert observations.is_unique
    assert not observations.is_monotonic_increasing
    assert photos.photo_uuid.nunique() == photos.photo_id.nunique() >= len(photos) * 0.995
    assert photos.photo_id.tail(20).min() > photos.photo_id.head(20).max(), "about in the order of the ids"


@pytest.mark.parametrize("form", ["plain", "gz"])
def test_it_loads(dump: Path, tables: dict[str, pd.DataFrame], form: str, database_url: str, tmp_path: Path) -> None:
    report = load_csvs(LoadOptions(dump / form, quality="any", all_taxa=True), database_url)
    assert {table: found.read for table, found in report.tables.items()} == {
        table: len(rows) for table, rows in tables.items()
    }
    assert report.tables["photos"].kept > 0.99 * len(tables["photos"])
