"""What a stage returns, as a notebook shows it. Everything in it can also be read by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from html import escape
from typing import Any

#: Rows of a table in a notebook; of 445 classes, the rest is said to be there.
_ROWS = 20


class Summary:
    """What a stage returns; for dataclasses. In a notebook it is a table of what has a value."""

    def _repr_html_(self) -> str:
        facts = {name: value for name, value in _facts(self).items() if value not in (None, {}, [], (), "")}
        safety = facts.pop("safety", None)
        notice = f"<p><strong>{escape(str(safety))}</strong></p>" if safety else ""
        return f"{notice}<table>{_rows(facts)}</table>"


def _facts(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {str(name): each for name, each in value.items()}
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _rows(facts: Mapping[str, Any]) -> str:
    return "".join(f"<tr><th>{_word(name)}</th><td>{_cell(value)}</td></tr>" for name, value in facts.items())


def _cell(value: Any) -> str:
    """Return a value as HTML: records as a table, whatever holds them."""
    if isinstance(value, Mapping):
        if any(_is_record(each) for each in value.values()):
            return _table(
                [
                    {"": str(name).replace("_", " "), **(_facts(each) if _is_record(each) else {})}
                    for name, each in value.items()
                ]
            )
        return _few(f"{_word(name)}: {_cell(each)}" for name, each in value.items())
    if _is_record(value):
        return f"<table>{_rows(_facts(value))}</table>"
    if isinstance(value, list | tuple):
        records = [_facts(each) for each in value if _is_record(each)]
        return _table(records) if records else _few(map(_cell, value))
    return _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape({True: "yes", False: "no", None: "–"}.get(value, str(value)))
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _is_record(value: Any) -> bool:
    return isinstance(value, Mapping) or (is_dataclass(value) and not isinstance(value, type))


def _table(records: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for record in records for name in record))
    head = "".join(f"<th>{_word(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(record.get(name))}</td>' for name in names)}</tr>" for record in records[:_ROWS]
    )
    return f"<table><tr>{head}</tr>{body}</table>{_more(len(records))}"


def _few(shown: Iterable[str]) -> str:
    every = list(shown)
    return ", ".join(every[:_ROWS]) + _more(len(every))


def _more(there: int) -> str:
    return f" … and {there - _ROWS:,} more" if there > _ROWS else ""


def _word(name: str) -> str:
    return escape(name.replace("_", " "))
