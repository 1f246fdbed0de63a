"""Fixtures that several test modules share."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy
from hypothesis import settings
from PIL import Image, ImageFilter

from shroomcurate.catalogue.server import connect
from shroomcurate.dataset import Dataset, Receipt, make_table, write_table
from shroomcurate.select import SCHEMA as SELECTION

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

# The first example of a test may pay for importing SciPy or Arrow; how long an example takes decides nothing here.
settings.register_profile("shroomcurate", deadline=None)
settings.load_profile("shroomcurate")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@contextmanager
def small_file_system(parent: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own of this size, where this process may mount one; the test is skipped elsewhere."""
    disk = parent / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


CHROMIUM = shutil.which("chromium")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs ../shared"))
        if item.get_closest_marker("browser") and CHROMIUM is None:
            item.add_marker(pytest.mark.skip(reason="needs chromium"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and weights. Tests that use it are marked `shared`."""
    return SHARED


@lru_cache(4096)  # many tests ask for the same few
def jpeg(seed: int, hue: int = 0, size: tuple[int, int] = (160, 120), quality: int = 88) -> bytes:
    """A small, distinct, natural-ish photo: blurred coloured noise whose colour depends on `hue` (0..255)."""
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    tint = np.array(Image.new("HSV", (1, 1), (hue % 256, 200, 200)).convert("RGB"))[0, 0]
    mixed = Image.fromarray((0.5 * noise + 0.5 * tint).astype(np.uint8)).filter(ImageFilter.GaussianBlur(3))
    buffer = io.BytesIO()
    mixed.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def selection_rows(classes: Sequence[str], wanted: int, reserve: int = 0) -> list[dict[str, object]]:
    """Rows of a plausible selection: `wanted` + `reserve` photos a class, two photos an observation."""
    rows = []
    for class_number, name in enumerate(classes):
        for rank in range(1, wanted + reserve + 1):
            photo_id = 1000 * (class_number + 1) + rank
            observation = hashlib.md5(f"{name}{(rank - 1) // 2}".encode(), usedforsecurity=False).hexdigest()
            rows.append(
                {
                    "photo_id": photo_id,
                    "photo_uuid": f"00000000-0000-4000-8000-{photo_id:012d}",
                    "observation_uuid": observation,
                    "observer_id": 1 + rank % 5,
                    "taxon_id": class_number + 1,
                    "taxon_name": name.replace("_", " "),
                    "class": name,
                    "class_name": name.replace("_", " "),
                    "class_taxon_id": class_number + 1,
                    "rank_in_class": rank,
                    "role": "wanted" if rank <= wanted else "reserve",
                    "extension": "jpg",
                    "license": "CC-BY",
                    "attribution": "© Ann Observer, some rights reserved (CC-BY)",
                    "latitude": 47.0 + rank / 100,
                    "longitude": 8.0,
                    "observed_on": None,
                }
            )
    return rows


def make_selected(root: Path, classes: Sequence[str], wanted: int, reserve: int = 0) -> Dataset:
    """Make a dataset that `query` has just selected."""
    dataset = Dataset(root)
    table = make_table(SELECTION, selection_rows(classes, wanted, reserve))
    write_table(dataset.path("selection.parquet"), table, Receipt("query", {"per_class": wanted}))
    return dataset


def make_photographed(root: Path, classes: Sequence[str], wanted: int, reserve: int = 0) -> Dataset:
    """Make the same with the wanted photos in their class folders (no downloads.parquet)."""
    dataset = make_selected(root, classes, wanted, reserve)
    for row in selection_rows(classes, wanted):
        photo_id, name = int(str(row["photo_id"])), str(row["class"])
        target = dataset.images / name / f"{photo_id}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(jpeg(photo_id, hue=60 * classes.index(name)))
    return dataset


@pytest.fixture
def selected(tmp_path: Path) -> Callable[..., Dataset]:
    """Make a dataset that `query` has just selected: `selected(["Amanita_muscaria"], wanted=5, reserve=2)`."""
    return partial(make_selected, tmp_path / "dataset")


@pytest.fixture
def photographed(tmp_path: Path) -> Callable[..., Dataset]:
    """The same with the wanted photos in their class folders (no downloads.parquet)."""
    return partial(make_photographed, tmp_path / "dataset")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server to test on: SHROOMCURATE_TEST_DATABASE_URL, or an embedded one of this test process."""
    named = os.environ.get("SHROOMCURATE_TEST_DATABASE_URL")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHROOMCURATE_HOME", str(tmp_path_factory.mktemp("home")))
        if named:
            yield named
            return
        with connect(None, "tests") as engine:
            _without_waiting_for_the_disk(engine)
            yield engine.url.render_as_string(hide_password=False).replace("+psycopg", "")


def _without_waiting_for_the_disk(engine: sqlalchemy.Engine) -> None:
    # What this server holds need not outlive the machine: its tables are gone with the tests in any case.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"test_{uuid.uuid4().hex}"
    admin = sqlalchemy.create_engine(_driver(postgres), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield sqlalchemy.make_url(postgres).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


def _driver(url: str) -> sqlalchemy.URL:
    return sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")


@pytest.fixture
def rows_of(database_url: str) -> Callable[..., list[dict[str, object]]]:
    """Run SQL in the test's database: `rows_of("SELECT …")`."""

    def run(sql: str, **values: object) -> list[dict[str, object]]:
        engine = sqlalchemy.create_engine(_driver(database_url))
        with engine.begin() as connection:
            connection.exec_driver_sql("SET search_path = inaturalist, public")
            result = connection.execute(sqlalchemy.text(sql), values)
            rows = [dict(row) for row in result.mappings()] if result.returns_rows else []
        engine.dispose()
        return rows

    return run


@pytest.fixture(scope="module")  # while it is open, an event loop runs in this thread: not for the whole session
def browser() -> Iterator[Browser]:
    """Debian's chromium without a screen. Tests that use it are marked `browser`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # One process for all pages of a site, so that a page that comes after another need not start its own.
        options = ["--no-sandbox", "--disable-gpu", "--renderer-process-limit=1"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """A wide window, in which a page stays for as long as tests open others."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.new_page()
    yield context
    context.close()


@pytest.fixture
def page(window: BrowserContext) -> Iterator[Page]:
    """A new page in a wide window, see :func:`watched_in`."""
    with watched_in(window) as page:
        yield page


@contextmanager
def watched(browser: Browser, **options: Any) -> Iterator[Page]:
    """Give a page in a window of its own, see :func:`watched_in`."""
    context = browser.new_context(**options)
    with watched_in(context) as page:
        yield page
    context.close()


@contextmanager
def watched_in(context: BrowserContext) -> Iterator[Page]:
    """Give a new page. Afterwards: no request left the machine, no script failed, none was refused by the page's rules.

    What does not load is for a test to judge: some of them end the server on purpose.
    """
    before = set(context.pages)
    asked: list[str] = []
    failed: list[str] = []
    listeners: dict[Any, Callable[[Any], None]] = {
        "request": lambda request: asked.append(request.url),
        "weberror": lambda error: failed.append(str(error.error)),
        "console": lambda message: failed.extend(_complaints(message)),
    }
    page = context.new_page()
    for event, listener in listeners.items():
        context.on(event, listener)
    try:
        yield page
    finally:
        for each in set(context.pages) - before:
            each.close()
        for event, listener in listeners.items():
            context.remove_listener(event, listener)
    here = ("http://127.0.0.1:", "http://localhost:", "file://", "data:", "blob:", "about:")
    assert not [url for url in asked if not url.startswith(here)]
    assert not failed


def _complaints(message: ConsoleMessage) -> list[str]:
    # The tests of the map read its canvas again and again, which the page does not.
    expected = message.text.startswith(("Failed to load resource", "Canvas2D: Multiple readback"))
    return [message.text] if message.type in ("error", "warning") and not expected else []
