"""The functions for Python users: they do what the commands do, in notebooks too."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import typer.main
from nbclient import NotebookClient
from typer.testing import CliRunner

import shroomcurate
from shroomcurate import progress
from shroomcurate.clean import CleanSummary
from shroomcurate.cli import app
from shroomcurate.dataset import Dataset
from shroomcurate.demo.server import serve_photos
from shroomcurate.errors import BadOption, StageMissing
from shroomcurate.predict import Prediction, Predictions
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.summary import Summary
from tests.conftest import jpeg
from tests.dumps import EDULIS, MUSCARIA, Dump

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FUNCTIONS = sorted(shroomcurate._FUNCTIONS)
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


# -- the names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        "pass",
        "import shroomcurate.clean",
        "from shroomcurate.clean import CleanOptions",
        "import shroomcurate.cli.photos",
    ],
)
def test_a_function_is_one_whatever_was_imported_before_and_its_module_too(before: str) -> None:
    code = (
        f"{before}\nfrom shroomcurate import clean\nimport shroomcurate\nfrom shroomcurate.clean import CleanOptions\n"
        "assert clean is shroomcurate.clean and clean.__name__ == 'clean', clean\nassert CleanOptions.eps == 0.3"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_alone_loads_no_stage_and_names_all_functions() -> None:
    code = "import sys, shroomcurate\nprint(*sys.modules)\nprint(*dir(shroomcurate))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded, names = (line.split() for line in printed.splitlines())
    assert not {"shroomcurate.interface", "shroomcurate.clean", "numpy", "pandas", "pyarrow"} & set(loaded)
    assert set(FUNCTIONS) <= set(names)


def test_a_name_that_is_none_is_refused_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="'shroomcurate' has no attribute 'claen'"):
        shroomcurate.claen  # type: ignore[attr-defined]  # noqa: B018


#: Options of a command that have another name in Python, or None there: they stand for other functions or files.
OTHERWISE: Mapping[str, tuple[str, ...]] = {
    "taxon": ("taxa",),
    "photo_id": ("photo_ids",),
    "photo_size": ("size",),
    "split": ("train", "val", "test"),
    "no_learn": ("learn",),
    "images": ("dataset",),
    "compare": ("architecture",),
    "no_split": ("split",),
    "engine": ("ray",),
    "ray_address": ("ray",),
    **dict.fromkeys(("as_json", "quiet", "help", "show_sql", "list_templates", "dry_run"), ()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
class TestEachFunction:
    def test_it_takes_every_option_of_its_command(self, name: str) -> None:
        keywords = set(inspect.signature(getattr(shroomcurate, name)).parameters)
        options = [parameter.name for parameter in COMMANDS[name.replace("_", "-")].params]
        assert {each for option in options for each in OTHERWISE.get(option, (option,))} <= keywords

    def test_its_defaults_are_those_of_its_command(self, name: str) -> None:
        keywords = inspect.signature(getattr(shroomcurate, name)).parameters
        for option in COMMANDS[name.replace("_", "-")].params:
            if option.name in keywords and option.name not in (
                "dataset",
                "source",
                "photos",
                "track",
                "file",
                "folder",
            ):
                assert keywords[option.name].default in (option.default, option.default or ()), option.name

    def test_it_says_what_it_does_with_an_example_and_returns_what_a_notebook_shows(self, name: str) -> None:
        function = getattr(shroomcurate, name)
        assert f">>> {name}(" in function.__doc__
        returned = inspect.signature(function).return_annotation
        module = sys.modules["shroomcurate.interface"]
        assert all(issubclass(getattr(module, kind), Summary) for kind in returned.split(" | "))

    def test_the_page_names_it_and_where_its_options_stand(self, name: str) -> None:
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}(")]
        assert f"`{name.replace('_', '-')}`" in row
        function = getattr(shroomcurate, name)
        assert re.findall(r"`(\w+Options)`", row) == re.findall(r"\.(\w+Options)`", function.__doc__)


def test_options_are_taken_as_people_write_them_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    as_typed = sys.modules["shroomcurate.keywords"].as_typed
    assert as_typed("Path | None", "weights") == Path("weights")
    assert as_typed("Path | None", None) is None
    assert as_typed("tuple[str, ...]", "Aves") == ("Aves",)
    assert as_typed("tuple[str, ...]", [47170, "Aves"]) == ("47170", "Aves")
    assert as_typed("tuple[int, ...]", pd.Series([3, 4])) == (3, 4)
    assert as_typed("tuple[Path, ...]", Path("a")) == (Path("a"),)
    with pytest.raises(TypeError, match="'epsilon'"):
        shroomcurate.clean(tmp_path, epsilon=0.1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"eps": "0.3"}, r"clean\(eps='0\.3'\): eps must be a number\."),
        ({"min_samples": 2.5}, "min_samples must be a whole number"),
        ({"dry_run": "no"}, "dry_run must be True or False"),
        ({"embedder": 3}, "embedder must be a text"),
    ],
)
def test_a_value_of_another_kind_is_named_before_anything_runs(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=said):
        shroomcurate.clean(tmp_path, **given)


def test_a_table_that_is_none_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="no table 'nope'") as raised:
        shroomcurate.Dataset(tmp_path).frame("nope")
    assert "clean.parquet" in raised.value.hint


def test_a_traceback_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StageMissing) as caught:
        shroomcurate.clean(tmp_path / "nothing")
    assert caught.value.__notes__ == [caught.value.hint]


# -- progress ----------------------------------------------------------------------------------------------------


def test_bars_are_drawn_in_a_notebook_and_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def own(done: int, total: int, label: str) -> None: ...

    assert progress.chosen(own) is own
    assert progress.chosen(None) is progress.chosen(False) is progress.silent
    progress.chosen(True)(3, 3, "counting")
    assert "counting: 100%" in capsys.readouterr().err

    @dataclass
    class IPython:
        config: dict[str, object]

        def get_ipython(self) -> IPython:
            return self

    for config, bars in (({"IPKernelApp": {}}, True), ({"TerminalIPythonApp": {}}, False)):
        monkeypatch.setitem(sys.modules, "IPython", IPython(config))
        assert (progress.chosen(None) is not progress.silent) is bars


# -- summaries ---------------------------------------------------------------------------------------------------


def test_a_notebook_shows_a_summary_with_its_classes_reasons_and_nothing_that_is_empty() -> None:
    classes = {f"Amanita_number_{number}": {"kept": 1234, "removed": 2} for number in range(445)}
    shown = CleanSummary(549_130, 890, classes, {"too_far": 890}, {}, {"<b>": "too few"})._repr_html_()
    assert "<th>kept</th><td>549,130</td>" in shown
    assert "too far: 890" in shown
    assert "Amanita number 19" in shown
    assert "Amanita number 20" not in shown
    assert "… and 425 more" in shown
    assert "&lt;b&gt;" in shown
    assert "decided by" not in shown


def test_a_prediction_is_not_shown_without_the_safety_notice() -> None:
    answer = Predictions("runs/x", 0.5, 3, (Prediction("a.jpg", (), knows=False, problem="no photo"),))
    assert answer._repr_html_().startswith(f"<p><strong>{SAFETY_NOTICE}")
    assert "no photo" in answer._repr_html_()


# -- the page and the notebook -----------------------------------------------------------------------------------


def test_every_call_on_the_page_fits_its_function() -> None:
    calls = [node for block in BLOCKS for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    called = {ast.unparse(node.func) for node in calls}
    for node in calls:
        if (name := ast.unparse(node.func)) in FUNCTIONS:
            keywords = {each.arg: None for each in node.keywords if each.arg}
            inspect.signature(getattr(shroomcurate, name)).bind(*node.args, **keywords)
    assert {"load_csvs", "query", "download", "clean", "train_baseline", "predict", "report"} <= called


@pytest.fixture
def elsewhere(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small dump of the usual name, and a database of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHROOMCURATE_DATABASE_URL", database_url)
    dump = Dump()
    dump.photographed(MUSCARIA, 40, first=1)
    dump.photographed(EDULIS, 40, first=101)
    dump.write(tmp_path / "inaturalist-open-data", packed=False)
    return tmp_path


@pytest.fixture
def bucket(elsewhere: Path) -> Iterator[str]:
    for photo in [*range(1, 41), *range(101, 141)]:
        target = elsewhere / "bucket" / "photos" / str(photo) / "medium.jpg"
        target.parent.mkdir(parents=True)
        target.write_bytes(jpeg(photo, hue=photo))
    with serve_photos(elsewhere / "bucket") as url:
        yield url


def test_what_the_page_says_runs_under_an_event_loop_and_leaves_the_tables_of_the_commands(
    elsewhere: Path, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {
        'max_rate="50"': f'base_url="{bucket}"',
        "eps=0.25": 'eps=0.25, embedder="classic"',  # which needs no weights
        'mode="probe"': 'mode="probe", seeds=1, resamples=50',
    }
    code = "\n".join(block for block in BLOCKS if "predict" not in block)  # which needs a network that was trained
    for said, done in changes.items():
        assert said in code
        code = code.replace(said, done)

    async def in_a_notebook() -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(code, names)  # noqa: S102 (our own page)
        return names

    names = asyncio.run(in_a_notebook())
    assert len(names["judged"]) == 80
    assert all(place.is_file() for place in names["places"])
    assert names["worth"].safety == SAFETY_NOTICE
    assert "Type this first" in capsys.readouterr().out

    for words in (
        ["query", "--species", "20", "--per-class", "100", "--licenses", "commercial"],
        ["download", "--base-url", bucket],
        ["clean", "--eps", "0.25", "--embedder", "classic"],
    ):
        result = CliRunner().invoke(app, [*words, "--dataset", "typed", "--quiet"])
        assert result.exit_code == 0, result.output
    for name in ("selection.parquet", "embeddings.parquet", "clean.parquet"):
        assert (elsewhere / "fungi" / name).read_bytes() == (elsewhere / "typed" / name).read_bytes(), name
    called, typed = (
        Dataset(elsewhere / name).frame("downloads.parquet").drop(columns="fetched_at") for name in ("fungi", "typed")
    )
    pd.testing.assert_frame_equal(called, typed)


def test_the_notebook_runs_from_the_dump_to_the_report(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert "not food advice" in notebook.cells[0].source
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    # It never touches the catalogue of whoever runs it; here it has the tests' server, which is running.
    no_other = 'os.environ.pop("SHROOMCURATE_DATABASE_URL", None)'
    assert 'os.environ["SHROOMCURATE_HOME"] = str(folder / "home")' in cells[0].source
    changes = {
        no_other: f'os.environ["SHROOMCURATE_DATABASE_URL"] = "{database_url}"',
        "species=4, per_species=40": "species=2, per_species=14",
        "per_class=30": "per_class=11",
        'mode="probe"': 'mode="probe", seeds=1, resamples=50',
    }
    for said, done in changes.items():
        (cell,) = [cell for cell in cells if said in cell.source]
        cell.source = cell.source.replace(said, done)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in cells for output in cell.outputs]
    assert sum("<table" in output.get("data", {}).get("text/html", "") for output in shown) >= 7
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert any(SAFETY_NOTICE in output.get("data", {}).get("text/html", "") for output in shown)
    dataset = Dataset(tmp_path / "notebook" / "fungi")
    assert dataset.path("report.html").is_file()
    assert len(dataset.frame("selection.parquet")["class"].unique()) == 2
