"""Every command in the documentation is one that the program takes; those of README, tutorial and how-tos are run."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main
from typer.testing import CliRunner

from shroomcurate.cli import app
from shroomcurate.demo.server import serve_photos
from shroomcurate.errors import INTERRUPTED
from tests import fault_server
from tests.api_server import World, serving
from tests.conftest import jpeg
from tests.dump_server import DumpServer, Served
from tests.dumps import AMANITA, BOLETUS, EDULIS, MUSCARIA, Dump

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
HOW_TOS = sorted((DOCS / "howto").glob("*.md"))
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


class Typed(NamedTuple):
    """A line of a block, split as a shell does it."""

    line: str
    words: list[str]
    variables: dict[str, str]


def typed(page: Path) -> Iterator[Typed]:
    for block in re.findall(
        r"^```(?:console|sh)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("nohup "), comments=True)
            if words[:1] == ["export"]:
                yield Typed(line, [], dict(word.split("=", 1) for word in words[1:]))
                continue
            variables = {}
            while words and re.match(r"[A-Z_]+=", words[0]):
                name, _, value = words.pop(0).partition("=")
                variables[name] = value
            if words:
                yield Typed(line, words[: words.index(">") if ">" in words else None], variables)


def ours(page: Path) -> list[Typed]:
    return [each for each in typed(page) if each.words[:1] == ["shroomcurate"]]


def parse(words: list[str]) -> None:
    COMMANDS[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
class TestEachPage:
    def test_its_commands_are_understood(self, page: Path) -> None:
        for each in ours(page):
            parse(each.words[1:])

    def test_commands_within_its_sentences_are_understood(self, page: Path) -> None:
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`(?:shroomcurate )?([a-z-]+(?: [^`]+)?)`", prose):
            words = code.split()
            if words[0] in COMMANDS and len(words) > 1 and not {"…", "..."} & set(words):
                known = {option for parameter in COMMANDS[words[0]].params for option in parameter.opts}
                assert {word.split("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}, code

    def test_its_links_lead_to_files_and_headings_that_are_there(self, page: Path) -> None:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if target.startswith(("http:", "https:", "mailto:")):
                continue
            path, _, heading = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), target
            if heading:
                assert heading in {anchor(title) for title in headings(file)}, target


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def anchor(title: str) -> str:
    """What forges make of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


# -- run ---------------------------------------------------------------------------------------------------------

#: What is not run: minutes of training a network, and what asks that network. They have tests of their own.
ONLY_PARSED = ("train-baseline --mode scratch", "predict")
#: What is typed behind the words of the page, so that nothing is downloaded and nobody waits.
BESIDE = {
    "demo": ["--species", "4", "--per-species", "8", "--serve", "0"],  # any free port
    "review": ["--port", "0"],
    "query": ["--per-class", "6", "--min-per-class", "2"],
    "clean": ["--embedder", "classic"],
    "train-baseline": ["--mode", "probe", "--seeds", "1"],
}
#: What a page takes for granted.
BEFORE = {"gpu": (["query"], ["download"], ["clean"])}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "DATASET", "WEIGHTS"):
        monkeypatch.delenv(f"SHROOMCURATE_{name}", raising=False)
    monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
    return tmp_path


def run(words: list[str], line: str, photos: str) -> None:
    words = [*words, *BESIDE.get(words[0], []), *(["--base-url", photos] if words[0] == "download" else [])]
    if words[0] == "review":
        with running(words):
            return
    result = CliRunner().invoke(app, words)
    # What `doctor` finds wrong with a machine is not the page's fault.
    assert result.exit_code == 0 or words[0] == "doctor", f"{line}\n{result.output}\n{result.exception!r}"


@contextmanager
def running(words: list[str]) -> Iterator[str]:
    """Start a command that serves until ^C, give its address, and end it as a person does."""
    command = [sys.executable, "-u", "-m", "shroomcurate", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = ""
            while not (address := re.search(r"http://127\.0\.0\.1:\d+", said)):
                line = process.stdout.readline()
                assert line, said
                said += line
            yield address[0]
        finally:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode in {0, INTERRUPTED}


@pytest.mark.timeout(600)
def test_the_tutorial_goes_from_nothing_to_an_answer(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = typed(DOCS / "tutorial.md")
    assert first.words[:2] == ["shroomcurate", "demo"]
    with running([*first.words[1:], *BESIDE["demo"]]) as url:
        for each in others:
            for name, value in each.variables.items():
                monkeypatch.setenv(name, value)
            if each.words and not " ".join(each.words[1:]).startswith(ONLY_PARSED):
                run(each.words[1:], each.line, url)
    assert (workplace / "tutorial" / "report.html").stat().st_size > 100_000
    assert list((workplace / "tutorial" / "runs").glob("*/metrics.json"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_readme_goes_from_the_dump_to_an_export(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, bucket = ROOT / "README.md", workplace / "bucket"
    write_dump(bucket)
    files = {f"/{file.name}": Served(file.read_bytes()) for file in bucket.glob("*.csv.gz")}
    world = World()
    for number, taxon in enumerate((MUSCARIA, EDULIS)):
        world.observe_many(taxon, 8, first=100 * (number + 1))
    (workplace / "species.txt").write_text("Amanita muscaria  # a name\nBoletus_edulis\n")
    with (
        serve_photos(bucket) as photos,
        fault_server.running(DumpServer(files)) as dumps,  # type: ignore[type-var]
        serving(world) as api,
    ):
        servers = {"fetch-dumps": ["--base-url", dumps.url], "load-api": ["--api-url", api.url]}
        for each in ours(page):
            words = each.words[1:]
            if words[:2] == ["build", "--dry-run"]:
                assert "#per-class = 500" in Path("shroomcurate.toml").read_text(encoding="utf-8"), "init wrote it"
                Path("shroomcurate.toml").write_text(recipe_of(page, photos), encoding="utf-8")
            # A home and a dataset of its own for what comes from the API, as the page says.
            apart = {"HOME": "home-api", "DATASET": "dataset-api"} if words[0] == "load-api" else {}
            for name, value in apart.items():
                monkeypatch.setenv(f"SHROOMCURATE_{name}", value)
            run([*words, *servers.get(words[0], [])], each.line, photos)
            if words == ["download", "--size", "small"]:
                assert len(list(Path("dataset-api/images").glob("*/*.jpg"))) == 12
                monkeypatch.setenv("SHROOMCURATE_HOME", str(workplace / "home"))
                monkeypatch.delenv("SHROOMCURATE_DATASET")
    assert (workplace / "dataset" / "exports" / "webdataset" / "MANIFEST.json").is_file()


def recipe_of(page: Path, photos: str) -> str:
    """The recipe that stands on a page, for photos of this machine and of few."""
    (text,) = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    text = text.replace("per-class = 500", "per-class = 6\nmin-per-class = 2")
    return text.replace("[clean]", f'[download]\nbase-url = "{photos}"\n\n[clean]\nembedder = "classic"')


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_how_tos_can_be_followed(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dump(workplace / "inaturalist-open-data")
    shutil.copytree(workplace / "inaturalist-open-data" / "photos" / "sorted", workplace / "photos-of-others")
    shutil.copy("photos-of-others/c0/100.jpg", "photos-of-others/c0/again.jpg")
    (workplace / "genera.txt").write_text("Amanita\nBoletus\n")
    invoke = CliRunner().invoke
    with serve_photos(workplace / "inaturalist-open-data") as url:
        assert invoke(app, ["load-csvs", "inaturalist-open-data", "--quiet"]).exit_code == 0
        for page in HOW_TOS:
            with monkeypatch.context() as patch:
                patch.setenv("SHROOMCURATE_DATASET", str(workplace / page.stem / "dataset"))
                follow(page, url, patch)


def follow(page: Path, url: str, patch: pytest.MonkeyPatch) -> None:
    """Run the commands of a page that are ours, with those of an earlier page's catalogue behind them."""
    if page.stem == "own-folders":
        shutil.copytree("photos-of-others", "photos")
    for words in BEFORE.get(page.stem, ()):
        run(words, f"before {page.name}", url)
    for each in typed(page):
        variables = {name: value for name, value in each.variables.items() if name != "SHROOMCURATE_DATABASE_URL"}
        for name, value in variables.items():
            patch.setenv(name, value)
        if each.words[:1] == ["shroomcurate"]:
            run(each.words[1:], each.line, url)
        for name in variables:
            patch.delenv(name)


def write_dump(folder: Path) -> None:
    """A dump of two genera and a bird, half of it CC0 and in the Pacific Northwest, with its photos."""
    dump = Dump()
    dump.taxon(3, "48460/1", "50", "class", "Aves")
    dump.taxon(12727, "48460/1/3", "10", "species", "Turdus migratorius")
    for number, taxon in enumerate((MUSCARIA, EDULIS, AMANITA, BOLETUS, 12727)):
        for each in range(8):
            photo_id = 100 * (number + 1) + each
            here = {"latitude": "46.5", "longitude": "-121.5"} if each % 2 else {}
            dump.observation(photo_id, taxon, **here)
            dump.photo(photo_id, photo_id, license="CC0" if each % 2 else "CC-BY")
            content = jpeg(photo_id, hue=50 * number)
            for target in (
                folder / "photos" / str(photo_id) / "medium.jpg",
                folder / "photos" / str(photo_id) / "small.jpg",
                folder / "photos/sorted" / f"c{number}" / f"{photo_id}.jpg",
            ):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    dump.write(folder)
