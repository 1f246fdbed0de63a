"""``shroomcurate.toml`` as it is written: names and types checked against the commands' options, places for errors."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.errors import BadOption, SourceMissing

if TYPE_CHECKING:
    from shroomcurate.cli.keys import Key

_KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}
_URL = ("http://", "https://")


@dataclass(frozen=True)
class Table:
    """A table of the file: its name, and the values under the names of the command's parameters."""

    name: str
    values: Mapping[str, Any]
    keys: Mapping[str, Key]


@dataclass(frozen=True)
class Written:
    """What a file holds, checked; values that are left away, or an empty text where that is the same, are not in it."""

    file: Path
    text: str

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """All of it, as TOML has it."""
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            what = re.sub(r" \((at .*)\)$", "", str(error))
            where = re.search(r"at line (\d+), column (\d+)", str(error))
            place = f"line {where[1]}, column {where[2]}" if where else "at its end"
            raise BadOption(
                f"{self.file}, {place}: {what}.",
                'Write options like these, below the name of their stage: [query], per-class = 500, rank = "genus"',
            ) from error
        except ValueError as error:  # Python reads no number of more than some thousand digits
            line = _line_of_that_number(self.text)
            raise BadOption(f"{self.file}, line {line}: there is too large a number.", "Give a smaller one.") from error

    @cached_property
    def common(self) -> Mapping[str, Any]:
        """What stands above the tables, by parameter."""
        from shroomcurate.cli.keys import common

        return self._checked(
            None, {key: value for key, value in self.content.items() if not isinstance(value, dict)}, common()
        )

    @cached_property
    def tables(self) -> Mapping[str, Table]:
        """The tables, in the order of the stages."""
        from shroomcurate.cli.keys import keys

        known = keys()
        for name, value in self.content.items():
            if isinstance(value, dict) and name not in known:
                raise BadOption(
                    f"{self._where(None, name)}: there is no stage {name!r}.",
                    f"{_meant(name, known)}The tables are: {', '.join(f'[{each}]' for each in known)}.",
                )
        return {
            name: Table(name, self._checked(name, self.content[name], allowed), allowed)
            for name, allowed in known.items()
            if isinstance(self.content.get(name), dict)
        }

    def place(self, table: Table, key: str | None = None) -> str:
        """Return where a table or a value in it stands, for a message."""
        return self._where(None, table.name) if key is None else self._where(table.name, key)

    @contextmanager
    def explained(self, table: Table) -> Iterator[None]:
        """Say of a value that a stage refuses where it stands."""
        try:
            yield
        except BadOption as error:
            named = [key for key in table.keys.values() if key.parameter in table.values and _names(error.what, key)]
            key = max(named, key=lambda each: len(each.name), default=None)
            hint = re.sub(r"--([a-z])", r"\1", error.hint)
            # Of licences the nearest by letters may permit what another forbids: their own hint knows which is meant.
            if key is not None and key.name != "licenses" and isinstance(table.values[key.parameter], str):
                hint = _meant(table.values[key.parameter], re.findall(r"[\w-]+", hint)) + hint
            what = re.sub(r"--([a-z])", r"\1", error.what)
            raise BadOption(f"{self.place(table, key.name if key else None)}: {what}", hint) from error

    def _checked(self, table: str | None, given: Mapping[str, Any], allowed: Mapping[str, Key]) -> dict[str, Any]:
        found = {}
        for name, value in given.items():
            if name not in allowed:
                raise self._unknown(table, name, value, allowed)
            key = allowed[name]
            if value in ("", []) and (key.default is None or key.kind is Path):
                continue
            found[key.parameter] = self._value(table, key, value)
        return found

    def _unknown(self, table: str | None, name: str, value: object, allowed: Mapping[str, Key]) -> BadOption:
        from shroomcurate.cli.keys import keys, once

        where = self._where(table, name)
        what = f"{where}: {_home(table)} has no {name!r}."
        if name in once():
            return BadOption(what, f"It is done once, not each time: shroomcurate {once()[name]} --{name}")
        elsewhere = [f"[{other}]" for other, names in keys().items() if name in names]
        if elsewhere and name not in allowed:
            return BadOption(what, f"It belongs below {' or '.join(elsewhere)}.")
        known = ", ".join(allowed)
        if isinstance(value, dict):
            known = ", ".join(f"[{each}]" for each in keys())
        return BadOption(what, f"{_meant(name, allowed)}It may hold: {known}.")

    def _value(self, table: str | None, key: Key, value: object) -> Any:
        if not key.several:
            return self._one(table, key, value)
        values = value if isinstance(value, list) else [value]
        return [self._one(table, key, each) for each in values]

    def _one(self, table: str | None, key: Key, value: object) -> Any:
        kind = str if key.kind is Path else key.kind
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise BadOption(f"{self._where(table, key.name)}: {key.name} is too large a number.", "Give a smaller one.")
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            wanted = f"{_KINDS[key.kind]}{', or a list of them' if key.several else ''}"
            raise BadOption(
                f"{self._where(table, key.name)}: {key.name} is {_toml(value)}; it must be {wanted}.",
                f"Write for example: {key.name} = {_example(key, value)}",
            )
        if key.kind is Path or (key.parameter == "source" and not str(value).startswith(_URL)):
            path = self._path(table, key, str(value))
            return path if key.kind is Path else str(path)
        if key.parameter == "template" and (self.file.parent / str(value)).is_file():
            return str(self.file.parent / str(value))
        return value

    def _path(self, table: str | None, key: Key, value: str) -> Path:
        """Return a path relative to the file; an empty one among several would be the file's own folder."""
        where = f"{self._where(table, key.name)}: {key.name}"
        if not value or "\0" in value:
            raise BadOption(f"{where} holds {value!r}, which is no path.", "Write a path, or leave it away.")
        try:
            return self.file.parent / Path(value).expanduser()
        except RuntimeError as error:
            raise BadOption(f"{where} is {_toml(value)}: there is no such user.", "Write the path in full.") from error

    def _where(self, table: str | None, name: str) -> str:
        line, column = position(self.text, table, name)
        return f"{self.file}, line {line}, column {column}"


def read_written(file: Path, text: str | None = None) -> Written:
    """Read the file.

    Raises
    ------
    SourceMissing, BadOption
        It is not there, or not UTF-8.
    """
    if text is None:
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise SourceMissing(
                f"There is no file {file}.", "Name one, or have one written: shroomcurate init"
            ) from error
        except UnicodeDecodeError as error:
            line = file.read_bytes()[: error.start].count(b"\n") + 1
            raise BadOption(f"{file}, line {line} is not UTF-8 text.", "Save it as UTF-8.") from error
    return Written(file, text)


def position(text: str, table: str | None, name: str) -> tuple[int, int]:
    """Return line and column, counted from 1, at which a name stands in a table, or a table itself.

    A statement of TOML ends where a line does, and what stands before it is TOML by itself: so it is the last of those
    lines without which the name is not there. No library is needed that knows of lines.
    """
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    begin = 0
    for end in range(1, len(lines) + 1):
        try:
            content = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # amid a value of several lines
        if name in (content if table is None else content.get(table, {})):
            break
        begin = end
    line = lines[begin] if begin < len(lines) else ""
    return begin + 1, len(line) - len(line.lstrip()) + 1


def _line_of_that_number(text: str) -> int:
    """Return the line of the first number that has too many digits for Python, which tomllib does not tell."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    for end in range(1, len(lines)):
        try:
            tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        except ValueError:
            return end
    return len(lines)


def _names(what: str, key: Key) -> bool:
    """Tell whether a message names an option, as typed or as Python does."""
    return any(
        re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", what) for name in (f"--{key.name}", key.name, key.parameter)
    )


def _home(table: str | None) -> str:
    return "the beginning of the file" if table is None else f"[{table}]"


def _meant(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word.replace("_", "-"), list(known), 1)
    return f"Did you mean {close[0]}? " if close and close[0] != word else ""


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value).replace("'", '"') if isinstance(value, str) else str(value)


def _example(key: Key, value: object) -> str:
    """Return what to write: what is there, if it only has to lose or gain quotation marks, or else the default."""
    if isinstance(value, str) and key.kind in (int, float):
        try:
            return str(key.kind(value.replace("_", "")))
        except ValueError:
            pass
    if key.kind in (str, Path) and isinstance(value, int | float) and not isinstance(value, bool):
        return f'"{value}"'
    usual = {bool: "true", int: "10", float: "0.5"}
    return _toml(key.default) if key.default not in (None, False) else usual.get(key.kind, '"…"')
