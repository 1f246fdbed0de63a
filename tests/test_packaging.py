"""What is published: the wheel and the source distribution, and what they say of themselves."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from shroomcurate import __version__
from tests.conftest import jpeg
from tests.dumps import EDULIS, MUSCARIA, Dump

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "shroomcurate"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUILD = "import sys\nfrom hatchling.build import build_{what}\nprint(build_{what}(sys.argv[1]))"


def copy(folder: Path, target: Path) -> Path:
    """Copy sources without what git ignores: environments, caches, what was built or run."""

    def ignored(place: str, names: list[str]) -> set[str]:
        made = {"demo", "dataset", "dist", "build"} if Path(place) == ROOT else set()
        return {
            name
            for name in names
            if name in made | {".git", ".venv", "__pycache__"} or name.endswith((".so", "_cache"))
        }

    return shutil.copytree(folder, target, ignore=ignored)


def build(source: Path, what: str, **environment: str) -> Path:
    """Build as pip does, by the hooks of PEP 517, but with the hatchling that is here."""
    (source / "dist").mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD.format(what=what), str(source / "dist")]
    done = subprocess.run(
        command, cwd=source, env=os.environ | environment, check=True, capture_output=True, text=True, timeout=60
    )
    return source / "dist" / done.stdout.splitlines()[-1]


class Built(NamedTuple):
    sdist: Path
    wheel: Path
    from_sdist: Path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: building writes beside them."""
    return copy(ROOT, tmp_path_factory.mktemp("source") / "tree")


@pytest.fixture(scope="module")
def built(source: Path) -> Built:
    """The source distribution, the wheel, and the wheel that the source distribution makes."""
    sdist = build(source, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(source.parent, filter="data")
    return Built(sdist, build(source, "wheel"), build(source.parent / sdist.name.removesuffix(".tar.gz"), "wheel"))


def hashes(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def test_the_wheel_holds_every_file_of_the_package_and_the_compiled_loops(built: Built) -> None:
    there = {Path(name).relative_to("shroomcurate") for name in hashes(built.wheel) if name.startswith("shroomcurate/")}
    ours = {
        file.relative_to(PACKAGE)
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith("_scan.so")
    }
    sql = {Path("sql") / file.relative_to(ROOT / "sql") for file in (ROOT / "sql").rglob("*.sql")}
    assert there == ours - {Path("catalogue/scan.c")} | sql | {Path("catalogue/_scan.so")}
    assert {
        Path("py.typed"),
        Path("edibility.csv"),
        Path("review/page/index.html"),
        Path("sql/schema/tables.sql"),
    } <= there


def test_the_source_distribution_makes_the_same_wheel_and_holds_the_tests(built: Built) -> None:
    assert hashes(built.from_sdist) == hashes(built.wheel)
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/test_packaging.py", "docs/python.md", "LICENSE", "CHANGELOG.md", "Dockerfile", "PKG-INFO"} <= names
    assert not {name for name in names if name.startswith((".git/", ".venv", "shared", "dist")) or name.endswith(".so")}


def test_the_wheel_is_for_this_platform_and_any_python(built: Built) -> None:
    name, version, _, tags = parse_wheel_filename(built.wheel.name)
    assert (name, str(version)) == ("shroomcurate", __version__)
    assert tags <= set(sys_tags())
    assert {(tag.interpreter, tag.abi) for tag in tags} == {("py3", "none")}
    assert "any" not in {tag.platform for tag in tags}
    with zipfile.ZipFile(built.wheel) as archive:
        assert "Root-Is-Purelib: false" in archive.read(f"shroomcurate-{version}.dist-info/WHEEL").decode()


def test_its_metadata_are_valid_and_say_what_pyproject_says(built: Built) -> None:
    folder = f"shroomcurate-{__version__}.dist-info"
    with zipfile.ZipFile(built.wheel) as archive:
        metadata = Metadata.from_email(archive.read(f"{folder}/METADATA"), validate=True)
        points = archive.read(f"{folder}/entry_points.txt").decode()
        assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert (metadata.name, str(metadata.version)) == ("shroomcurate", __version__)
    assert metadata.license_expression == "MIT"
    assert metadata.license_files == ["LICENSE"]
    assert str(metadata.requires_python) == PROJECT["requires-python"]
    assert metadata.description == (ROOT / "README.md").read_text(encoding="utf-8")
    assert metadata.description_content_type == "text/markdown"
    assert set(metadata.provides_extra or ()) == set(PROJECT["optional-dependencies"])
    assert {each.name for each in metadata.requires_dist or () if each.marker is None} == {
        Requirement(each).name for each in PROJECT["dependencies"]
    }
    assert points == "[console_scripts]\nshroomcurate = shroomcurate.cli:main\n"


def test_where_there_is_no_compiler_the_build_ends_with_that_word(source: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        build(source, "wheel", CC="/nowhere/cc -m64")
    assert "shroomcurate needs a C compiler: /nowhere/cc -m64 -O3" in caught.value.stderr.splitlines()[-1]
    assert "Traceback" not in caught.value.stderr


PIPELINE = """
import importlib.metadata, sys
from pathlib import Path
import shroomcurate
from shroomcurate import Dataset, clean, download, edibility, load_csvs, query, report
from shroomcurate.cli import app, demonstrate, look
from shroomcurate.demo.server import serve_photos

assert Path(shroomcurate.__file__).is_relative_to(sys.prefix), shroomcurate.__file__
assert importlib.metadata.version("shroomcurate") == shroomcurate.__version__
load_csvs("dump")
query("fungi", species=2, per_class=3)
with serve_photos(Path("bucket")) as bucket:
    fetched = download("fungi", base_url=bucket)
cleaned = clean("fungi", embedder="classic")
report("fungi")
assert Dataset("fungi").path("report.html").stat().st_size > 10_000
assert edibility.of("Amanita phalloides").edibility == "deadly"
print(fetched.statuses["ok"], cleaned.kept + cleaned.removed)
"""


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binaries of a new environment with the wheel, and with what it needs, but nothing of the sources.

    What it needs is TensorFlow and more, 3 GB, so it is taken from the environment of the tests, as it lies there.
    """
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, with_pip=True, symlinks=True)
    install = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", built.wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=60, env=outside())
    (site_packages,) = place.glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if path and not (Path(path) / "shroomcurate" / "__init__.py").exists()]
    (site_packages / "libraries.pth").write_text("\n".join(path for path in libraries if Path(path) != ROOT))
    return place / "bin"


def outside(**more: object) -> dict[str, str]:
    """The environment without what leads to the sources or to somebody's data."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "SHROOMCURATE_"))}
    return kept | {name: str(value) for name, value in more.items()}


def run(command: list[str | Path], folder: Path, **more: object) -> str:
    environment = outside(SHROOMCURATE_HOME=folder / "home", **more)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_works_in_an_environment_of_its_own(installed: Path, tmp_path: Path, database_url: str) -> None:
    dump = Dump()
    dump.photographed(MUSCARIA, 4, first=1)
    dump.photographed(EDULIS, 4, first=11)
    dump.write(tmp_path / "dump")
    for photo in (*range(1, 5), *range(11, 15)):
        file = tmp_path / "bucket" / "photos" / str(photo) / "medium.jpg"
        file.parent.mkdir(parents=True)
        file.write_bytes(jpeg(photo))
    assert run([installed / "shroomcurate", "--version"], tmp_path) == f"shroomcurate {__version__}\n"
    done = run([installed / "python", "-c", PIPELINE], tmp_path, SHROOMCURATE_DATABASE_URL=database_url)
    assert done == "6 6\n"


def test_the_demo_of_the_wheel_goes_from_nothing_to_a_report(installed: Path, tmp_path: Path) -> None:
    said = run([installed / "shroomcurate", "demo", "--species", "4", "--per-species", "9"], tmp_path)
    assert "The report: demo/dataset/report.html" in said
    assert (tmp_path / "demo" / "dataset" / "report.html").stat().st_size > 100_000
    assert "All of it is current." in said


def test_python_m_is_the_command_and_either_teaches_a_shell_its_options(installed: Path, tmp_path: Path) -> None:
    ways: list[list[str | Path]] = [[installed / "shroomcurate"], [installed / "python", "-m", "shroomcurate"]]
    said = [run([*way, "--help"], tmp_path, COLUMNS=100) for way in ways]
    assert said[0] == said[1]
    assert "Usage: shroomcurate " in said[0]
    for shell, words in {"bash": "complete -o", "zsh": "#compdef shroomcurate", "fish": "complete --command"}.items():
        asked = {"_SHROOMCURATE_COMPLETE": f"source_{shell}"}  # --show-completion asks which shell it is called from
        taught = [run(way, tmp_path, **asked) for way in ways]
        assert taught[0] == taught[1]
        assert words in taught[0]


# -- what stands beside the package ------------------------------------------------------------------------------


def test_the_version_stands_in_one_place_and_the_citation_and_the_changelog_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert {"cff-version", "message", "title", "authors", "type", "license"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
    assert citation["title"] == PROJECT["name"]
    assert citation["keywords"] == PROJECT["keywords"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0]
    assert first in (__version__, "Unreleased")
    assert "version" in PROJECT["dynamic"]


def test_every_extra_is_in_all_and_in_the_readme() -> None:
    extras = dict(PROJECT["optional-dependencies"])
    (everything,) = (Requirement(each) for each in extras.pop("all"))
    assert everything.extras == set(extras)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, requirements in extras.items():
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| `{name}` |")]
        assert all(Requirement(each).name.split("-")[0] in row.casefold() for each in requirements), row


class TestTheContainer:
    DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    STAGES = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]

    def test_it_copies_what_is_there_and_what_dockerignore_lets_through(self) -> None:
        copied = [
            word
            for line in re.findall(r"^COPY (?!--from)(.*)$", self.DOCKERFILE, re.MULTILINE)
            for word in line.split()[:-1]
        ]
        allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
        assert sorted(copied) == sorted(allowed)
        assert all((ROOT / word).exists() for word in copied)

    def test_what_it_copies_makes_the_wheel(self, built: Built, tmp_path: Path) -> None:
        for name in re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE):
            if (ROOT / name).is_dir():
                copy(ROOT / name, tmp_path / name)
            else:
                shutil.copy(ROOT / name, tmp_path / name)
        assert hashes(build(tmp_path, "wheel")) == hashes(built.wheel)

    def test_its_line_of_python_names_what_the_package_needs(self) -> None:
        (line,) = re.findall(r'python -c "(.*)"', self.DOCKERFILE)
        printed = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
        assert printed.stdout.splitlines() == PROJECT["dependencies"]

    def test_only_the_first_stage_has_a_compiler_and_the_last_is_not_root(self) -> None:
        first, last = self.STAGES
        assert "gcc" in first
        assert "gcc" not in last
        assert re.search(r"^USER (?!root|0)\w+$", last, re.MULTILINE)
        assert 'ENTRYPOINT ["shroomcurate"]' in last
        assert {stage.split()[0] for stage in self.STAGES} == {"python:3.12-slim"}

    def test_compose_gives_it_the_database_beside_it(self) -> None:
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
        ours, database = services["shroomcurate"], services["database"]
        url = ours["environment"]["SHROOMCURATE_DATABASE_URL"]
        for name in ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"):
            assert database["environment"][name] in url
        assert "@database:5432/" in url
        assert ours["depends_on"] == {"database": {"condition": "service_healthy"}}
        assert ours["profiles"]  # `docker compose up` starts the database alone
