"""Writes the reference: commands, exit codes, files with their columns, SQL templates and the Python interface.

Everything is read from the code, so that no page says what the program does not do. The pages are Markdown, or
reStructuredText where Sphinx reads docstrings itself; they are written at build time and not kept.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

#: Table -> the module whose SCHEMA describes it, and what one row is.
TABLES = {
    "selection.parquet": ("select", "photo wanted or in reserve"),
    "downloads.parquet": ("download", "photo asked for"),
    "embeddings.parquet": ("embed", "photo on disk, kept or removed"),
    "clean.parquet": ("clean", "photo judged"),
    "splits.parquet": ("split", "photo that is kept"),
    "runs/<id>/predictions.parquet": ("training.results", "test photo"),
}


def pages() -> dict[str, str]:
    """Return the text of each reference page: its path below ``docs/`` -> text."""
    return {
        "reference/commands.md": commands(),
        "reference/exit-codes.md": exit_codes(),
        "reference/files.md": tables(),
        "reference/sql.md": templates(),
        "reference/python.rst": python(),
    }


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(value: object) -> str:
    # Outside of code a < would begin a tag.
    parts = str(value).replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return " ".join("`".join(parts).split())


# -- commands ----------------------------------------------------------------------------------------------------


def commands() -> str:
    """Return the page of all commands."""
    import typer.main

    from shroomcurate.cli import app

    found: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    text = "# Commands\n\nThe same words as `shroomcurate COMMAND --help`. An option in capitals is a variable of the "
    text += "environment that stands for it.\n"
    return text + "".join(_command(name, command) for name, command in found.items())


def _command(name: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    usage = " ".join(["shroomcurate", name, "[OPTIONS]", *map(_usage, arguments)])
    text = f"\n## {name}\n\n{_unwrapped(command.help)}\n\n```text\n{usage}\n```\n"
    if arguments:
        rows = [(f"`{each.name.upper()}`", each.help or "", _default(each)) for each in arguments]
        text += "\n" + _table(("argument", "what it is", "left away"), rows)
    rows = [(_option(each), _with_variable(each), _default(each)) for each in options]
    return text + "\n" + _table(("option", "what it does", "left away"), rows)


def _unwrapped(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def _usage(argument: Any) -> str:
    word = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _option(option: Any) -> str:
    (kind,) = get_args(option.type_descriptor.annotation) or (option.type_descriptor.annotation,)
    value = "" if option.is_flag else " " + {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")
    return ", ".join(f"`{each}{value}`" for each in sorted(option.opts, key=len, reverse=True))


def _with_variable(option: Any) -> str:
    return (option.help or "") + (f" `{option.envvar}`" if option.envvar else "")


def _default(parameter: Any) -> str:
    value = parameter.default
    if getattr(parameter, "is_flag", False) or value in (None, (), []) or callable(value):
        return "required" if parameter.required else ""
    return f"`{value}`"


# -- exit codes --------------------------------------------------------------------------------------------------


def exit_codes() -> str:
    """Return the page of what a command ends with."""
    from shroomcurate import errors

    rows: list[tuple[int, str, str]] = [
        (0, "", "All is well."),
        (1, "", "A bug: the traceback says where."),
        (errors.UNFIT, "", "`doctor` has found a problem; its answer says which."),
        (errors.INTERRUPTED, "", "Stopped by ^C."),
    ]
    for name, error in vars(errors).items():
        if inspect.isclass(error) and issubclass(error, errors.ShroomError) and error is not errors.ShroomError:
            rows.append((error.exit_code, name, inspect.getdoc(error) or ""))
    text = "# Exit codes\n\nWith `--json` an error is one line of JSON on standard error: `error` (the name below), "
    text += "`what`, `hint` and `exit_code`.\n\n"
    return text + _table(("code", "error", "what happened"), [(code, f"`{name}`" if name else "", meaning)
                                                              for code, name, meaning in sorted(rows)])  # fmt: skip


# -- files -------------------------------------------------------------------------------------------------------


def tables() -> str:
    """Return the page of the dataset's files and their columns."""
    from shroomcurate.dataset import WRITTEN_BY
    from shroomcurate.verdicts import COLUMNS

    text = (
        "# Files and columns\n\nEach Parquet file carries a receipt in its metadata, under the key `shroomcurate`: one "
        "line of JSON with `stage`, `version`, `options` and `inputs` (name of a file that was read: its sha256).\n"
    )
    for name, (module, row) in TABLES.items():
        writer = WRITTEN_BY.get(name, "train-baseline")
        schema = import_module(f"shroomcurate.{module}").SCHEMA
        text += f"\n## `{name}`\n\nWritten by `{writer}`. One row for each {row}.\n\n"
        text += _table(("column", "type", "meaning"), [(f"`{c.name}`", f"`{c.type}`", c.meaning) for c in schema])
    text += "\n## `verdicts.csv`\n\nYours; `review` and `restore` add lines to it. The columns are "
    return text + ", ".join(f"`{name}`" for name in COLUMNS) + ". The last line about a photo counts.\n"


# -- SQL ---------------------------------------------------------------------------------------------------------


def templates() -> str:
    """Return the page of the SQL templates and the parts that they include."""
    from shroomcurate.catalogue.server import sql_file
    from shroomcurate.select.templates import PARAMETERS, bundled, read_template

    text = (
        "# SQL templates\n\n`shroomcurate query --template NAME` runs one of these, `--template FILE` one of yours, "
        "and `--show-sql` prints what psql would run. A header declares each parameter; a line `-- include: FILE` "
        "stands for a shared part, its parameters with it.\n\n## Parameters\n\n"
        "All that a template can use, with the type that its header gives it.\n\n"
    )
    text += _table(("parameter", "type"), [(f"`:{name}`", f"`{kind}`") for name, kind in PARAMETERS.items()])
    for template in bundled():
        text += f"\n## {template.name}\n\n{template.description}\n\n"
        text += _table(
            ("parameter", "type", "meaning"),
            [(f"`:{each.name}`", f"`{each.type}`", each.meaning) for each in template.parameters],
        )
        text += f"\n```sql\n{template.path.read_text(encoding='utf-8').strip()}\n```\n"
    text += "\n## Shared parts\n\n"
    parts = sorted(sql_file("select/parts/judged.sql").parent.glob("*.sql"))
    return text + _table(
        ("file", "what it gives"), [(f"`{part.name}`", read_template(part).description) for part in parts]
    )


# -- Python ------------------------------------------------------------------------------------------------------


def python() -> str:
    """Return the page of what the package exports, as directives for Sphinx's autodoc."""
    import shroomcurate

    text = "Python\n======\n\nWhat ``from shroomcurate import …`` gives. Everything else may change without notice.\n\n"
    return text + "\n".join(_directives(shroomcurate))


def _directives(package: Any) -> Iterator[str]:
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value):
            yield f".. autoclass:: {package.__name__}.{name}\n   :members:\n"
        elif inspect.isroutine(value):
            yield f".. autofunction:: {package.__name__}.{name}\n"
        elif not re.fullmatch(r"__\w+__", name):
            yield f".. autodata:: {package.__name__}.{name}\n"
