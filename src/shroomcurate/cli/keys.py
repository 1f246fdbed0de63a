"""What may stand in ``shroomcurate.toml``: the options of the stages' commands, as the commands declare them.

Name, type, default and help of each come from the command's function, so they are written down nowhere else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import UnionType
from typing import Any, get_args, get_origin

from shroomcurate.cli import MODULES
from shroomcurate.cli.root import app

#: The commands that are stages of `build`, in the order in which they run. Of the first two one at most.
STAGES = ("load-csvs", "load-api", "query", "download", "clean", "train-baseline", "export", "report")

#: Options that say where, or how the answer is shown: for all stages at once, or for the command line alone.
COMMON = ("dataset", "database_url")
_OF_THE_COMMAND_LINE = {*COMMON, "images", "as_json", "quiet", "ctx"}

#: Options that do something once, or instead of the stage's work: no setting of a dataset.
DONE_ONCE = {
    *("force", "diff", "fresh", "list_templates", "show_sql", "dry_run"),
    *("verify", "recheck", "retry_gone", "suggest"),
}

#: What a stage of a build cannot meet: it asks for what another stage has always done before.
_NEVER_ASKED = {("train-baseline", "embedder")}


@dataclass(frozen=True)
class Key:
    """One option: as it is named on the command line and in the function, and what it may hold."""

    name: str
    parameter: str
    kind: type
    """bool, int, float, str or Path; of a list, that of its items."""
    several: bool
    """A list."""
    default: Any
    """None where it may be left away."""
    help: str


def keys() -> Mapping[str, Mapping[str, Key]]:
    """Return what each table may hold: command -> name of the option -> the option."""
    return {stage: {key.name: key for key in _options(stage)} for stage in _registered()}


def once() -> Mapping[str, str]:
    """Return the options that have no place in the file: name -> the command that has it."""
    return {key.name: stage for stage in _registered() for key in _declared(stage) if key.parameter in DONE_ONCE}


def common() -> Mapping[str, Key]:
    """Return what may stand above the tables."""
    return {key.name: key for key in _declared("query") if key.parameter in COMMON}


def as_keys(hint: str, stage: str) -> str:
    """Say below which tables the options stand that a stage's hint names; behind a command they are that command's."""
    known, table, found = keys(), stage, dict[str, dict[str, None]]()
    for command, option in re.findall(r"shroomcurate ([a-z-]+)|--([a-z-]+)", hint):
        table = command or table
        if option in known.get(table, {}):
            found.setdefault(table, {})[option] = None
    return "; ".join(f"{', '.join(names)} below [{name}]" for name, names in found.items())


def _registered() -> list[str]:
    known = {command for commands in MODULES.values() for command in commands}
    return [stage for stage in STAGES if stage in known]


def _options(stage: str) -> list[Key]:
    return [
        key
        for key in _declared(stage)
        if key.parameter not in _OF_THE_COMMAND_LINE | DONE_ONCE and (stage, key.parameter) not in _NEVER_ASKED
    ]


def _declared(stage: str) -> list[Key]:
    [module] = [name for name, commands in MODULES.items() if stage in commands]
    import_module(f"shroomcurate.cli.{module}")
    for command in app.registered_commands:
        function = command.callback
        if function is not None and (command.name or function.__name__) == stage:
            parameters = inspect.signature(function, eval_str=True).parameters.values()
            return [_key(parameter) for parameter in parameters if parameter.name != "ctx"]
    return []


def _key(parameter: inspect.Parameter) -> Key:
    annotation, info = get_args(parameter.annotation)[:2]
    spelt = [info.default, *(info.param_decls or ())]  # in Annotated the first name passes for a default
    names = [name[2:] for name in spelt if isinstance(name, str) and name.startswith("--")]
    kind = _without_none(annotation)
    several = get_origin(kind) is list
    return Key(
        name=names[0] if names else parameter.name.replace("_", "-"),
        parameter=parameter.name,
        kind=get_args(kind)[0] if several else kind,
        several=several,
        default=parameter.default,
        help=info.help or "",
    )


def _without_none(annotation: Any) -> Any:
    if isinstance(annotation, UnionType):
        [annotation] = [each for each in get_args(annotation) if each is not type(None)]
    return annotation
