"""``shroomcurate.toml``: what `init` writes is what is used anyway, and what is wrong is named with its place."""

from __future__ import annotations

import re
import string
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from shroomcurate.build.recipe import Recipe, read_recipe
from shroomcurate.build.template import template
from shroomcurate.build.written import position
from shroomcurate.catalogue.api import ApiOptions
from shroomcurate.catalogue.load import LoadOptions
from shroomcurate.cli import app
from shroomcurate.cli.keys import Key, keys
from shroomcurate.errors import BadOption, SourceMissing
from shroomcurate.export import ExportOptions
from shroomcurate.report import ReportOptions
from shroomcurate.training import TrainOptions

HERE = Path("somewhere/shroomcurate.toml")
ALL = [(table, key) for table, options in keys().items() for key in options.values()]


def read(text: str) -> Recipe:
    return read_recipe(HERE, text)


def refused(text: str) -> tuple[str, str]:
    with pytest.raises(BadOption) as raised:
        read(text)
    return raised.value.what, raised.value.hint


class TestTheFileOfInit:
    def test_as_it_is_or_uncommented_it_asks_for_what_is_asked_for_anyway(self) -> None:
        usual = Recipe(
            dataset=HERE.parent / "dataset",
            lock=HERE.with_suffix(".lock"),
            load=LoadOptions((str(HERE.parent / "inaturalist-open-data"),)),
        )
        assert read(template()) == usual
        uncommented = re.sub(r"^#(?=[\w\[])", "", template(), flags=re.MULTILINE)
        without_api = re.sub(r"\[load-api\].*?(?=\[query\])", "", uncommented, flags=re.DOTALL)
        all_of_it = read(without_api)
        assert (all_of_it.train, all_of_it.report) == ((TrainOptions(),), ReportOptions())
        assert all_of_it.export == ExportOptions()
        assert {
            name: getattr(all_of_it, name) for name in ("load", "query", "download", "embed", "clean", "split")
        } == {name: getattr(usual, name) for name in ("load", "query", "download", "embed", "clean", "split")}

    def test_its_short_example_is_a_whole_file(self) -> None:
        recipe = read("".join(line[4:] + "\n" for line in template().splitlines() if line.startswith("#   ")))
        assert (recipe.query.species, recipe.query.per_class) == (20, 100)
        assert recipe.load is not None

    def test_every_option_stands_in_it_once_below_its_table_with_its_help(self) -> None:
        for name, options in keys().items():
            behind = re.split(rf"^#?\[{name}\]\n", template(), flags=re.MULTILINE)[1]
            below = re.split(r"^#?\[", behind, flags=re.MULTILINE)[0]
            assert re.findall(r"^#([\w-]+) = ", below, re.MULTILINE) == list(options)
            for key in options.values():
                assert key.help
                assert key.help.split()[-1] in below

    def test_it_is_never_overwritten(self, tmp_path: Path) -> None:
        file = tmp_path / "fungi.toml"
        assert CliRunner().invoke(app, ["init", str(file)]).exit_code == 0
        written = file.read_text()
        file.write_text(written + "\n# mine")
        again = CliRunner().invoke(app, ["init", str(file)])
        assert again.exit_code == BadOption.exit_code
        assert "is there already" in again.stderr
        assert file.read_text() == written + "\n# mine"


#: Another value than the default, of which the stages approve.
OTHER: dict[str, object] = {
    "rank": "genus", "licenses": "share", "region": "conus", "since": "2020", "until": "2021", "quality": "any",
    "template": "balanced", "base-url": "http://127.0.0.1", "size": "small", "max-rate": ["20"], "embedder": "classic",
    "mode": "scratch", "architecture": "convnext_tiny", "compare": "convnext_tiny", "split": "4:1", "resize": "pad",
    "balance": "none", "phone": "full", "track": "mlflow", "raw-vs-clean": "none", "learning-curve": "none",
    "cross-validate": "none", "all-taxa": True, "species-file": "list.txt", "format": "coco", "link": "hard",
    "engine": "ray",
}  # fmt: skip


def other(key: Key) -> object:
    if key.name in OTHER:
        return OTHER[key.name]
    if key.kind is bool:
        return not key.default
    if key.kind in (int, float):
        return (key.default or 1) * (2 if key.kind is int else 0.5) or 3
    return ["other"] if key.several else "other"


@pytest.mark.parametrize(("table", "key"), ALL, ids=lambda each: each if isinstance(each, str) else each.name)
def test_every_option_is_heeded(table: str, key: Key) -> None:
    value = other(key)
    toml = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
    needed = 'taxon = ["Boletus"]\n' if table == "load-api" else ""
    needed += 'engine = "ray"\n' if key.name == "ray-address" else ""
    without = f"[{table}]\n{needed}"
    with_it = f"[{table}]\n{'' if key.name == 'taxon' else needed}{key.name} = {toml}\n"
    assert read(with_it) != read(without)


class TestWhatIsWrongIsNamedWithItsPlace:
    @pytest.mark.parametrize(
        ("text", "place", "what", "hint"),
        [
            ("[query]\n\nper-clas = 5\n", "line 3, column 1", "[query] has no 'per-clas'", "Did you mean per-class?"),
            ("[query]\n  per_class = 5\n", "line 2, column 3", "has no 'per_class'", "Did you mean per-class?"),
            ("# x\n[quary]\n", "line 2, column 1", "no stage 'quary'", "Did you mean query?"),
            ("datset = 'x'\n", "line 1, column 1", "beginning of the file has no 'datset'", "Did you mean dataset?"),
            ("eps = 0.3\n", "line 1, column 1", "has no 'eps'", "belongs below [clean]"),
            ("[query]\neps = 0.3\n", "line 2, column 1", "has no 'eps'", "belongs below [clean]"),
            (
                "[query]\nper-class = '500'\n",
                "line 2, column 1",
                'is "500"; it must be a whole number',
                "per-class = 500",
            ),
            (
                "[query]\nper-class = true\n",
                "line 2, column 1",
                "is true; it must be a whole number",
                "per-class = 500",
            ),
            ("[query]\nsince = 2020\n", "line 2, column 1", "is 2020; it must be a text", 'since = "2020"'),
            ("[clean]\nauto-eps = 1\n", "line 2, column 1", "must be true or false", "auto-eps = true"),
            ("[query]\nrank = 'specis'\n", "line 2, column 1", "rank 'specis'", "Did you mean species?"),
            ("[query]\n\n\nper-class = 0\n", "line 4, column 1", "per-class 0 is too small", "Give 1 or more"),
            ("[download]\nsize = 'meduim'\n", "line 2, column 1", "'meduim'", "Did you mean medium?"),
            ("[query]\nlicenses = 'CC-BY-4.0'\n", "line 2, column 1", "'CC-BY-4.0'", "Did you mean CC-BY? Use"),
            ("[clean]\nembedder = 'clasic'\n", "line 2, column 1", "clasic", "Did you mean classic?"),
            ("[train-baseline]\nphone = 'fast'\n", "line 2, column 1", "phone is 'fast'", "Give one of"),
            ("[train-baseline]\nsplit = '70'\n", "line 2, column 1", "split is '70'", "such as 70/15/15"),
            ("[download]\nverify = true\n", "line 2, column 1", "has no 'verify'", "shroomcurate download --verify"),
            ("[query]\ntaxon = ['a', 3]\n", "line 2, column 1", "is 3; it must be a text, or a list", 'taxon = "3"'),
            ("[query]\nper-class 5\n", "line 2, column 11", "Expected '='", "per-class = 500"),
            ("[query\n", "line 1, column 7", "Expected ']'", "[query]"),
            ("x = '''\n", "at its end", "", "[query]"),
            ("[load-csvs]\n[load-api]\ntaxon = 'A'\n", "line 2, column 1", "beside [load-csvs]", "delete the other"),
            ("[load-csvs]\n[load-api]\n", "line 2, column 1", "beside [load-csvs]", "delete the other"),
            ("[load-api]\n", "line 1, column 1", "no species to ask for", "taxon Amanita"),
            (f"[clean]\neps = 1{'0' * 400}\n", "line 2, column 1", "eps is too large a number", "smaller"),
            (
                f"[query]\nseed = 1{'0' * 5000}\n[clean]\neps = 0.3\n",
                "line 2: there",
                "is too large a number",
                "smaller",
            ),
            (f"[query]\ntaxon = [\n3,\n1{'0' * 5000}]\n", "line 4: there", "is too large a number", "smaller"),
            (f"[query]\nseed = {2**63}\n", "line 2, column 1", "seed is too large a number", "smaller"),
            ("dataset = '~nobodyhere/x'\n", "line 1, column 1", "there is no such user", "in full"),
            ('dataset = "a\\u0000b"\n', "line 1, column 1", "is no path", "Write a path"),
            ("[query]\nexclude = ['']\n", "line 2, column 1", "is no path", "Write a path"),
            (
                "[download]\nray-address = 'x'\n",
                "line 2, column 1",
                "ray-address counts with engine ray only",
                "engine ray",
            ),
            ("[query]\nper-class = [5]\n", "line 2, column 1", "is [5]; it must be a whole number", "500"),
        ],
    )
    def test_error(self, text: str, place: str, what: str, hint: str) -> None:
        said, todo = refused(text)
        assert said.startswith(f"{HERE}, {place}"), said
        assert what in said
        assert hint in todo

    @pytest.mark.parametrize("written", ["CC-BY-NX", "CC-BY-N", "CC-BY-DN", "CC-B", "CC-BY-NC-XA"])
    def test_no_licence_is_guessed(self, written: str) -> None:
        assert "Did you mean" not in refused(f"[query]\nlicenses = '{written}'\n")[1]

    def test_a_file_that_is_not_there_or_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(SourceMissing, match="There is no file") as raised:
            read_recipe(tmp_path / "shroomcurate.toml")
        assert "shroomcurate init" in raised.value.hint
        (tmp_path / "shroomcurate.toml").write_bytes(b"[query]\n# caf\xe9\n")
        with pytest.raises(BadOption, match="line 2 is not UTF-8"):
            read_recipe(tmp_path / "shroomcurate.toml")


VALUES = st.one_of(
    st.integers(-9, 9).map(str),
    st.sampled_from(
        ['"text # [query]"', "'''\nper-class = 1\n[query]\n'''", "[\n  1,  # [x]\n  2,\n]", "{ a = 1 }", '"""\\\n"""']
    ),
)
NAMES = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=3), unique=True, min_size=1, max_size=5)
BETWEEN = st.sampled_from(["", "\n", "# a = 1\n", "  # [b]\n\n"])


@settings(max_examples=40)
@given(st.data(), NAMES)
def test_the_place_of_a_name_is_its_line_whatever_stands_around(data: Any, names: list[str]) -> None:
    text, expected = data.draw(BETWEEN), {}
    inside = data.draw(st.booleans())
    if inside:
        text += "[table]\n"
    for name in names:
        text += data.draw(BETWEEN)
        indent = data.draw(st.sampled_from(["", "  ", "\t"]))
        expected[name] = (text.count("\n") + 1, len(indent) + 1)
        text += f"{indent}{name} = {data.draw(VALUES)}\n"
    for name, place in expected.items():
        assert position(text, "table" if inside else None, name) == place


def test_paths_are_relative_to_the_file_and_addresses_are_left_alone() -> None:
    recipe = read(
        'dataset = "fungi"\n[load-csvs]\nsource = ["dump", "https://example.org/x"]\n'
        '[query]\nnames = "list.txt"\nexclude = "/old"\n[clean]\nweights = "w"\n'
    )
    assert recipe.dataset == Path("somewhere/fungi")
    assert isinstance(recipe.load, LoadOptions)
    assert recipe.load.sources == ["somewhere/dump", "https://example.org/x"]
    assert (recipe.query.names, recipe.query.exclude) == (Path("somewhere/list.txt"), (Path("/old"),))
    assert recipe.embed.weights == Path("somewhere/w")


def test_an_empty_path_is_as_one_that_is_left_away() -> None:
    assert read('dataset = ""\n[query]\nnames = ""\nexclude = []\n[clean]\nweights = ""\n') == read(
        "[query]\n[clean]\n"
    )


def test_what_python_asks_for_and_the_file_does_not_say_is_the_environments() -> None:
    assert read_recipe(HERE, "", {"dataset": Path("x")}).dataset == Path("x")
    assert read_recipe(HERE, 'dataset = "y"', {"dataset": Path("x")}).dataset == Path("somewhere/y")


def test_several_networks_are_several_trainings() -> None:
    recipe = read('[train-baseline]\ncompare = "convnext_tiny,mobilenet_v3_small"\nseed = 7\nsplit = "4:1"\n')
    assert [each.architecture for each in recipe.train] == ["convnext_tiny", "mobilenet_v3_small"]
    assert {each.seed for each in recipe.train} == {recipe.split.seed} == {7}
    assert recipe.split.train == 0.8


def test_options_are_written_down_nowhere_else() -> None:
    """Each field that the commands set has a key, so that none can be forgotten here."""
    assert asdict(read("[query]\nspecies = 9\n").query)["species"] == 9
    assert {field.name for field in fields(ApiOptions)} - {"fresh", "force", "taxa"} <= {
        key.parameter for key in keys()["load-api"].values()
    }
