"""A small world to build in: a dump of three species, and what a server has of their photos. Not a test itself."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from shroomcurate.build import Recipe, build
from shroomcurate.catalogue.load import LoadOptions
from shroomcurate.clean import CleanOptions
from shroomcurate.dataset import Dataset
from shroomcurate.download import DownloadOptions
from shroomcurate.embed import EmbedOptions
from shroomcurate.select import QueryOptions
from tests.conftest import jpeg
from tests.dumps import EDULIS, MUSCARIA, VAGINATA, Dump
from tests.fault_server import FaultServer, running

PER_CLASS = 12
#: Taxon -> its photos' first id and how many there are: the last has too few.
PHOTOS = {MUSCARIA: (1000, 45), EDULIS: (2000, 36), VAGINATA: (3000, 10)}
FAULTS = {1003: "404", 1010: "404", 2005: "truncated", 2011: "404", 3001: "404"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[tuple[Recipe, FaultServer]]:
    """A finished dataset, its catalogue in a database and a home of its own, and the server while it runs."""
    folder = tmp_path_factory.mktemp("built")
    name = f"test_{uuid.uuid4().hex}"
    url = sqlalchemy.make_url(postgres).set(drivername="postgresql+psycopg")
    admin = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    make_dump(folder / "dump")
    with pytest.MonkeyPatch.context() as patch, photo_server() as server:
        patch.setenv("SHROOMCURATE_HOME", str(folder / "home"))
        own = sqlalchemy.make_url(postgres).set(database=name).render_as_string(hide_password=False)
        recipe = make_recipe(folder, server, own)
        build(recipe)
        yield recipe, server
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


def copy_of(recipe: Recipe, folder: Path) -> Recipe:
    """The same dataset in another folder."""
    shutil.copytree(recipe.dataset, folder / "dataset")
    shutil.copy(recipe.lock, folder / "shroomcurate.lock")
    return replace(recipe, dataset=folder / "dataset", lock=folder / "shroomcurate.lock")


def make_dump(folder: Path) -> Path:
    dump = Dump()
    for taxon_id, (first, count) in PHOTOS.items():
        dump.photographed(taxon_id, count, first)
    return dump.write(folder)


def content(photo_id: int, _: str) -> bytes:
    """Every other photo is the one before it, so that cleaning takes one of the two."""
    photo_id -= photo_id % 2
    return jpeg(photo_id, hue=photo_id // 1000 * 80)


@contextmanager
def photo_server(**other: object) -> Iterator[FaultServer]:
    with running(FaultServer(dict(FAULTS), content=content, **other)) as server:  # type: ignore[arg-type]
        yield server


def make_recipe(folder: Path, server: FaultServer, database_url: str | None) -> Recipe:
    return Recipe(
        dataset=folder / "dataset",
        lock=folder / "shroomcurate.lock",
        database_url=database_url,
        load=LoadOptions((str(folder / "dump"),)),
        query=QueryOptions(species=3, per_class=PER_CLASS, reserve=30),
        download=DownloadOptions(server.url, backoff=0.01),
        embed=EmbedOptions("classic"),
        clean=CleanOptions(min_samples=4),
    )


def write_toml(folder: Path, server: FaultServer, dump: Path = Path("dump")) -> Path:
    """The same recipe in a file."""
    file = folder / "shroomcurate.toml"
    file.write_text(
        f'[load-csvs]\nsource = "{dump}"\n[query]\nspecies = 3\nper-class = {PER_CLASS}\nreserve = 30\n'
        f'[download]\nbase-url = "{server.url}"\nconcurrency = 4\n[clean]\nembedder = "classic"\nmin-samples = 4\n'
    )
    return file


def images(dataset: Dataset) -> dict[str, bytes]:
    files = [*dataset.images.rglob("*"), *dataset.removed.rglob("*")]
    return {str(file.relative_to(dataset.root)): file.read_bytes() for file in files if file.is_file()}


def kept(dataset: Dataset) -> dict[str, int]:
    return {folder.name: len([*folder.iterdir()]) for folder in sorted(dataset.images.iterdir())}
