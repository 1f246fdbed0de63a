"""Image datasets one can defend, curated from the iNaturalist open data."""

__version__ = "0.1.0"

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Dataset  # which needs the version

if TYPE_CHECKING:
    from shroomcurate.interface import build as build
    from shroomcurate.interface import clean as clean
    from shroomcurate.interface import download as download
    from shroomcurate.interface import export as export
    from shroomcurate.interface import load_api as load_api
    from shroomcurate.interface import load_csvs as load_csvs
    from shroomcurate.interface import predict as predict
    from shroomcurate.interface import query as query
    from shroomcurate.interface import report as report
    from shroomcurate.interface import restore as restore
    from shroomcurate.interface import train_baseline as train_baseline
    from shroomcurate.interface import verify as verify

__all__ = [
    "Dataset",
    "__version__",
    "build",
    "clean",
    "download",
    "export",
    "load_api",
    "load_csvs",
    "predict",
    "query",
    "report",
    "restore",
    "train_baseline",
    "verify",
]

#: Each is loaded when somebody asks for it.
_FUNCTIONS = frozenset(__all__) - {"Dataset", "__version__"}


class _Package(ModuleType):
    """Our package, in which ``clean`` is the function, whether or not the module of that name was imported.

    Python sets each module that it imports as an attribute of its package, and would hide the function. What the module
    holds comes by ``from shroomcurate.clean import CleanOptions``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _FUNCTIONS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in _FUNCTIONS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=self)
        from shroomcurate import interface

        found = getattr(interface, name)
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
