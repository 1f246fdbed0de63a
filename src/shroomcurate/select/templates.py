"""The SQL files of ``sql/select/``: their typed headers, their shared parts, and how values get into them.

A template is one SELECT. Its header declares each parameter, ``-- :name type meaning``; a line ``-- include: FILE``
stands for a file of ``sql/select/parts/``, header included. Lines from ``-- only with NAME:`` to ``-- end`` change
nothing where the parameter is NULL, and are left away then, since PostgreSQL would plan around them. Values are bound
by psycopg and cast to the declared type; psql gets the same values as its own variables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from shroomcurate.catalogue.server import sql_file
from shroomcurate.errors import BadOption

#: Every parameter that a template can use, and its type.
PARAMETERS = {
    "rank": "text",
    "species": "bigint",
    "classes": "bigint[]",
    "per_class": "bigint",
    "reserve": "bigint",
    "min_per_class": "bigint",
    "max_per_observation": "bigint",
    "max_per_observer": "bigint",
    "taxa": "bigint[]",
    "quality": "text",
    "licenses": "text[]",
    "exclude": "bigint[]",
    "west": "double precision",
    "south": "double precision",
    "east": "double precision",
    "north": "double precision",
    "since": "date",
    "until": "date",
    "seed": "text",
    "chosen": "bigint[]",
}

_DECLARATION = re.compile(r"^-- :(\w+)[ \t]*(.*)$", re.MULTILINE)
_ONLY_WITH = re.compile(r"^-- only with ([\w, ]+):\n(.*?)^-- end\n", re.MULTILINE | re.DOTALL)
_INCLUDE = re.compile(r"^-- include: *(\S+) *$", re.MULTILINE)

#: What psql does not look into for variables (strings, names, comments), casts, and the variables.
_TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*)|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::|(?<!\w):(?P<parameter>[A-Za-z_]\w*)",
    re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Parameter:
    """A parameter as a template's header declares it."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class Template:
    """A template with its parts in place."""

    path: Path
    description: str
    parameters: tuple[Parameter, ...]
    text: str

    @property
    def name(self) -> str:
        """The name that ``--template`` takes, for a bundled one."""
        return self.path.stem

    def asked(self, values: Mapping[str, Any]) -> Template:
        """Return the template without the lines that change nothing for these values."""

        def kept(block: re.Match[str]) -> str:
            return block[2] if any(values[name] is not None for name in re.findall(r"\w+", block[1])) else ""

        return replace(self, text=_ONLY_WITH.sub(kept, self.text))

    def bound(self) -> str:
        """Return the statement with psycopg's placeholders, each cast to its declared type."""
        types = {parameter.name: parameter.type for parameter in self.parameters}
        # psycopg looks for placeholders, and for %%, only where there are values.
        percent = "%%" if self.used() else "%"
        text = _replaced(
            self.statement, lambda name: f"CAST(%({name})s AS {types[name]})", lambda text: text.replace("%", percent)
        )
        return text.strip()

    @property
    def statement(self) -> str:
        """The text up to the semicolon that ends it, without what follows."""
        bare = list(self.text)
        for token in _tokens(self.text):
            if token.comment:
                bare[token.start : token.end] = " " * (token.end - token.start)
        return self.text[: len("".join(bare).rstrip("; \t\r\n\f\v"))]

    def used(self) -> list[str]:
        """Return the names of the parameters that the statement uses, sorted."""
        return sorted({token.parameter for token in _tokens(self.text) if token.parameter})


class _Token(NamedTuple):
    """A piece of a template that psql reads as one: a comment, a string, a name in quotes, a variable."""

    start: int
    end: int
    comment: bool
    parameter: str | None


def _tokens(text: str) -> Iterator[_Token]:
    end = 0
    while match := _TOKEN.search(text, end):
        end = _end_of_comment(text, match.end()) if match[0] == "/*" else match.end()
        yield _Token(match.start(), end, match["comment"] is not None, match["parameter"])


def _end_of_comment(text: str, start: int) -> int:
    """Return where a comment ends whose ``/*`` ends at `start`: comments hold comments, in PostgreSQL as in psql."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return start  # it never ends: PostgreSQL will say so


def _replaced(text: str, parameter: Callable[[str], str], other: Callable[[str], str]) -> str:
    pieces, end = [], 0
    for token in _tokens(text):
        if token.parameter:
            pieces += [other(text[end : token.start]), parameter(token.parameter)]
            end = token.end
    return "".join([*pieces, other(text[end:])])


def bundled() -> list[Template]:
    """Return the templates of ``sql/select/``, by name."""
    return [read_template(path) for path in sorted(sql_file("select/balanced.sql").parent.glob("*.sql"))]


def chosen_template(wanted: str | None, *, names: bool) -> Template:
    """Return the template of a name or file; None: the list's one where there are names, else the balanced one.

    Raises
    ------
    BadOption
        There is none of that name, or its header or statement is not sound.
    """
    wanted = wanted or ("species_list" if names else "balanced")
    own = [template for template in bundled() if template.name == wanted]
    if own:
        return own[0]
    if not Path(wanted).is_file():
        known = ", ".join(template.name for template in bundled())
        raise BadOption(
            f"--template: {wanted!r} is neither a template nor a file.",
            f"Use {known}, or a file with one SELECT. shroomcurate query --list-templates explains them.",
        )
    template = read_template(Path(wanted))
    if "chosen" in template.used():  # what was selected is known only afterwards
        raise BadOption(f"{template.path}: there is no parameter :chosen.", f"Use some of: {_known()}.")
    return template


def read_template(path: Path) -> Template:
    """Read a template, put its parts in place, and check its header against its statement.

    Raises
    ------
    BadOption
        Not UTF-8; an include that is not there; a parameter that is unknown, of another type, or not declared.
    """
    text = _with_parts(path, _text_of(path)).replace("\r\n", "\n")
    declared: dict[str, Parameter] = {}
    for match in _DECLARATION.finditer(text):
        parameter = _declared(path, match[1], match[2])
        declared[parameter.name] = parameter
    template = Template(path, _description(text), tuple(declared.values()), text)
    for name in template.used():
        if name not in PARAMETERS:
            raise BadOption(f"{path}: there is no parameter :{name}.", f"Use some of: {_known()}.")
        if name not in declared:
            raise BadOption(
                f"{path} uses :{name}, which its header does not declare.",
                f"Add this line at its top: -- :{name} {PARAMETERS[name]} what it is for",
            )
    return template


def _declared(path: Path, name: str, rest: str) -> Parameter:
    if name not in PARAMETERS:
        raise BadOption(f"{path} declares :{name}, which is no parameter.", f"Use some of: {_known()}.")
    declared = re.match(rf"{re.escape(PARAMETERS[name])}(?=\s|$)", rest)
    if not declared:
        raise BadOption(
            f"{path} declares :{name} as {rest[:60].strip()!r}; its type is {PARAMETERS[name]}.",
            f"Write: -- :{name} {PARAMETERS[name]} what it is for",
        )
    return Parameter(name, PARAMETERS[name], rest[declared.end() :].strip())


def _known() -> str:
    return ", ".join(f":{name}" for name in PARAMETERS if name != "chosen")


def _with_parts(path: Path, text: str) -> str:
    return _INCLUDE.sub(lambda match: _with_parts(path, _part(path, match[1])), text)


def _part(path: Path, name: str) -> str:
    try:
        return _text_of(sql_file(f"select/parts/{Path(name).name}")).rstrip("\n")
    except FileNotFoundError as error:
        raise BadOption(
            f"{path} includes {name}, which is none of the shared parts.", "Use judged.sql or sample.sql."
        ) from error


def _description(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("--") or line.startswith(("-- :", "-- include:")) or not line.strip("- "):
            break
        lines.append(line.removeprefix("--").strip())
    return " ".join(lines)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadOption(f"{path} is not UTF-8 text: {error}", "Name a file with one SELECT in it.") from error


def statement(driver: Any, template: Template, values: Mapping[str, Any]) -> bytes:
    """Return the statement with its values, as psycopg would send it."""
    import psycopg

    asked = template.asked(values)
    given = {name: values[name] for name in asked.used()}
    return psycopg.ClientCursor(driver).mogrify(asked.bound(), given or None).encode(driver.info.encoding)


# -- psql --------------------------------------------------------------------------------------------------------


def psql_variables(template: Template, values: Mapping[str, Any]) -> list[str]:
    r"""Return a ``\set`` line for each parameter of a template."""
    types = {parameter.name: parameter.type for parameter in template.parameters}
    return [rf"\set {name} {_psql(values[name], types[name])}" for name in template.used()]


def _psql(value: object, type_name: str) -> str:
    if isinstance(value, list):
        value = "{" + ",".join(map(str, value)) + "}"
    literal = "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"
    cast = f"CAST({literal} AS {type_name})"
    return "'" + cast.replace("\\", "\\\\").replace("'", "''") + "'"
