"""The documentation says what the program does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from shroomcurate import __version__
from shroomcurate.catalogue.server import sql_file
from shroomcurate.clean import SCHEMA
from shroomcurate.clean.reasons import _RULES
from shroomcurate.cli import app
from shroomcurate.dataset import Column
from shroomcurate.embed import EMBEDDERS
from shroomcurate.review.views import VIEWS
from shroomcurate.select import LICENSE_PROFILES
from shroomcurate.select.templates import read_template
from shroomcurate.verdicts import COLUMNS, REASONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REVIEW = (ROOT / "docs" / "review.md").read_text(encoding="utf-8")
CLEANING = (ROOT / "docs" / "cleaning.md").read_text(encoding="utf-8")
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
class TestEachCommand:
    def test_it_has_help_with_an_example_that_parses(self, name: str) -> None:
        help_text = COMMANDS[name].help
        (example,) = re.findall(r"Example: `shroomcurate ([^`]+)`", help_text)
        words = example.split()
        assert words[0] == name
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options

    def test_every_option_says_what_it_does(self, name: str) -> None:
        for parameter in COMMANDS[name].params:
            assert parameter.help or parameter.name == "help", parameter.name

    def test_its_help_opens(self, name: str) -> None:
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0
        assert "Example" in result.output

    def test_the_readme_or_the_changelog_names_it(self, name: str) -> None:
        assert name in README
        assert f"`{name}`" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def typed_in_readme() -> Iterator[list[str]]:
    for line in re.findall(r"`?(shroomcurate [a-z][^`\n#]*)`?", README):
        words = line.split()[1:]
        if words and words[0] in COMMANDS:
            yield words


def test_every_command_and_option_in_the_readme_exists() -> None:
    typed = list(typed_in_readme())
    assert {words[0] for words in typed} >= {"load-csvs", "query", "download", "clean", "train-baseline", "report"}
    short = [line.split() for line in re.findall(r"`((?:query|load-csvs|download|clean) --[^`]+)`", README)]
    for words in typed + short:
        options = {option for parameter in COMMANDS[words[0]].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, words


def test_the_readme_begins_with_the_two_commands_that_the_makefile_has() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
    assert README.index("make demo") < README.index("shroomcurate load-csvs")


def test_links_and_pictures_of_the_readme_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).is_file(), target


@pytest.mark.parametrize("name", ["select/balanced.sql", "select/species_list.sql", "check/left_out.sql"])
def test_sql_headers_name_and_type_every_parameter_used(name: str) -> None:
    template = read_template(sql_file(name))
    assert {parameter.name for parameter in template.parameters} == set(template.used())
    assert all(parameter.meaning for parameter in template.parameters)
    assert template.description


def test_the_readme_speaks_of_every_licence_profile() -> None:
    for profile in set(LICENSE_PROFILES) - {"any"}:
        assert f"{profile}" in README


def test_the_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_docker_compose_has_a_health_check_and_a_volume_and_listens_on_this_machine_only() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["database"]
    assert service["healthcheck"]["test"]
    assert service["volumes"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_lock_holds_names_and_versions_only() -> None:
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9][\w.]*( ; [\w'\". <>=!*()]+)?", line), line


def test_the_safety_notice_stands_in_the_readme() -> None:
    assert "not food advice" in README


class TestThePageOnCleaning:
    @pytest.mark.parametrize("column", SCHEMA, ids=lambda column: column.name)
    def test_it_gives_the_meaning_of_every_column(self, column: Column) -> None:
        meaning = column.meaning.replace("<", "&lt;")  # or it would be taken for a tag
        assert f"| `{column.name}` | {meaning} |" in CLEANING.splitlines()

    @pytest.mark.parametrize(("reason", "holds"), _RULES, ids=[holds.__name__ for _, holds in _RULES])
    def test_it_says_what_every_rule_sees_and_in_which_numbers(self, reason: str, holds: Callable[[Any], Any]) -> None:
        asked = NumbersAskedFor()
        holds(asked)
        assert holds.__doc__
        sees = holds.__doc__.splitlines()[0].removeprefix("See ").rstrip(".")
        numbers = ", ".join(f"`{name}`" for name in sorted(asked))
        assert f"| `{reason}` | {sees} | {numbers} |" in CLEANING.splitlines()

    def test_rules_stand_in_the_order_in_which_they_are_asked(self) -> None:
        named = re.findall(r"^\| `(\w+)` \|", CLEANING[CLEANING.index("## Reasons") :], re.MULTILINE)
        assert named[: len(_RULES)] == [reason for reason, _ in _RULES]

    def test_it_and_the_readme_name_every_reason_and_every_embedder(self) -> None:
        for name in {*REASONS, *EMBEDDERS}:
            assert f"`{name}`" in CLEANING, name
            assert f"`{name}`" in README or name == "duplicate", name

    def test_its_lines_for_verdicts_are_such(self) -> None:
        header, *lines = re.findall(r"```csv\n(.*?)```", CLEANING, re.DOTALL)[0].splitlines()
        assert header == ",".join(COLUMNS)
        for line in lines:
            path, verdict, reason, _, _ = line.split(",")
            assert path.startswith("images/")
            assert verdict in {"keep", "remove"}
            assert reason in {"", *REASONS}

    def test_its_options_commands_links_and_pictures_are_there(self) -> None:
        known = {option for name in ("clean", "restore") for each in COMMANDS[name].params for option in each.opts}
        typed = re.findall(r"`[^`]*`|```.*?```", re.sub(r"`python -m[^`]*`", "", CLEANING), re.DOTALL)
        assert {word for text in typed for word in re.findall(r"--[a-z-]+", text)} <= known
        for module in re.findall(r"python -m ([\w.]+)", CLEANING):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
        for target in re.findall(r"\]\(([^)#]+)\)", CLEANING):
            assert target.startswith("http") or (ROOT / "docs" / target).exists(), target

    def test_its_pictures_are_small(self) -> None:
        for picture in (ROOT / "docs" / "images").glob("cleaning*"):
            assert picture.stat().st_size < 200_000, picture


class NumbersAskedFor(dict[str, Any]):
    """Evidence of which nothing is known, and that remembers what it was asked for."""

    def __missing__(self, name: str) -> Any:
        return self.setdefault(name, np.full(1, np.nan, np.float32))


class TestThePageOnReviewing:
    def test_it_names_every_view_in_the_order_of_the_tabs(self) -> None:
        named = re.findall(r"^\| ([A-Z][a-z ]+) \|", REVIEW[REVIEW.index("## The views") :], re.MULTILINE)
        assert named == [each.title for each in VIEWS.values()]

    def test_every_key_that_the_page_knows_is_in_its_table(self) -> None:
        script = files("shroomcurate.review").joinpath("page/keys.js").read_text(encoding="utf-8")
        table = script[script.index('k: ["decide", "keep"]') :].split("}")[0]
        keys = {quoted or bare for quoted, bare in re.findall(r'(?:"([^"]+)"|(\b\w+)): \[', table)} - {"="}
        assert {"k", "Backspace", "/", "["} <= keys
        rows = re.findall(r"^\| (`.*?) \|", REVIEW, re.MULTILINE)
        named = {key.casefold() for row in rows for key in row.split("`")} | {"]"}
        words = {"escape": "esc", " ": "space", "z": "enter"}  # z stands in the line of the large view
        assert {words.get(key.casefold(), key.casefold()) for key in keys} <= named

    def test_its_options_links_and_pictures_are_there(self) -> None:
        known = {option for each in COMMANDS["review"].params for option in each.opts} | {"--suggest"}
        assert set(re.findall(r"--[a-z][a-z-]+", REVIEW)) <= known
        for target in re.findall(r"\]\(([^)#]+)\)", REVIEW):
            assert (ROOT / "docs" / target).exists(), target
