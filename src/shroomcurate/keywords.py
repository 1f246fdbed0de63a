"""A function that takes one dataclass, called by the names of the dataclass's fields."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_Call = TypeVar("_Call")
_Summary = TypeVar("_Summary")


def by_keyword(call: Callable[_P, _Call]) -> Callable[[Callable[[_Call], _Summary]], Callable[_P, _Summary]]:
    """Let a function that takes one dataclass be called as the dataclass is made."""
    signature = inspect.signature(call)

    def decorate(function: Callable[[_Call], _Summary]) -> Callable[_P, _Summary]:
        @functools.wraps(function)
        def called(*arguments: _P.args, **keywords: _P.kwargs) -> _Summary:
            _refuse_unknown(function.__name__, signature, keywords)
            given: Mapping[str, Any] = signature.bind(*arguments, **keywords).arguments
            typed = {name: as_typed(signature.parameters[name].annotation, given[name]) for name in given}
            for name, value in typed.items():
                _refuse_kind(function.__name__, name, signature.parameters[name].annotation, value)
            made: Any = call
            return function(made(**typed))

        returned = inspect.signature(function).return_annotation
        called.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
        return called

    return decorate


def _refuse_unknown(name: str, signature: inspect.Signature, keywords: Iterable[str]) -> None:
    """Name the function and the nearest keyword, which Python does not."""
    for keyword in keywords:
        if keyword not in signature.parameters:
            nearest = get_close_matches(keyword, signature.parameters, 1, 0.5)
            meant = f" Did you mean {nearest[0]}?" if nearest else f" help({name}) lists what it takes."
            raise TypeError(f"{name}() takes no {keyword!r}.{meant}")


#: A whole number passes for a number; True and False pass for none.
_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "bool": (lambda value: not isinstance(value, str), "True or False"),
    "int": (lambda value: isinstance(value, Integral) and not isinstance(value, bool), "a whole number"),
    "float": (lambda value: isinstance(value, Real) and not isinstance(value, bool), "a number"),
    "str": (lambda value: isinstance(value, str), "a text"),
}


def _refuse_kind(name: str, keyword: str, annotation: str, value: object) -> None:
    """Name the function, the keyword and what it takes, where the stage would stumble over the value later."""
    kind = annotation.removesuffix(" | None")
    if kind not in _KINDS or (value is None and kind != annotation):
        return
    takes, words = _KINDS[kind]
    if not takes(value):
        or_none = "" if kind == annotation else " or None"
        raise TypeError(f"{name}({keyword}={value!r}): {keyword} must be {words}{or_none}.")


def as_typed(annotation: str, value: Any) -> Any:
    """Return a path for text, and a tuple for a list, a column of a frame or a single value, where they are wanted."""
    if annotation == "Path | None" and value is not None:
        return Path(value)
    for type_of in (str, int, Path):
        if annotation == f"tuple[{type_of.__name__}, ...]":
            several = isinstance(value, Iterable) and not isinstance(value, str)
            return tuple(map(type_of, value if several else (value,)))
    return value
