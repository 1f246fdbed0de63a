"""The commands. Each reads its options, runs its stages and shows what they return; nothing else lives here.

Stages are imported inside their commands, and of the commands' own modules only that of the command that was typed:
each brings the options of its stages, and all of them together take a fifth of a second.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shroomcurate.cli.root import app as app

#: Module -> the commands that importing it registers; --help lists them in this order.
MODULES = {
    "catalogue": ("fetch-dumps", "load-csvs", "load-api", "query"),
    "photos": ("download", "clean", "restore"),
    "look": ("review",),
    "train": ("train-baseline", "runs", "predict"),
    "judge": ("report", "status"),
    "share": ("export", "verify"),
    "machine": ("doctor",),
    "build": ("init", "build"),
    "demonstrate": ("demo",),
}


def __getattr__(name: str) -> Any:
    """Return the application with all its commands, for ``from shroomcurate.cli import app``."""
    if name != "app":
        raise AttributeError(name)
    return _registered(None)


def _registered(command: str | None) -> Any:
    """Return the application with this command; with all of them, if there is none of that name."""
    wanted = [module for module, commands in MODULES.items() if command in commands] or MODULES
    for module in wanted:
        import_module(f"{__name__}.{module}")
    from shroomcurate.cli.root import app

    return app


def main() -> None:
    """Run the command line."""
    from shroomcurate.terminal import own_this_process

    # Pillow warns about damaged EXIF data; whether a photo is whole is our own question.
    warnings.filterwarnings("ignore", module="PIL")
    own_this_process()
    # What comes before a command, such as --help, and words that are no command, concern all of them.
    app = _registered(sys.argv[1] if len(sys.argv) > 1 else None)
    app(prog_name="shroomcurate")  # also as `python -m shroomcurate`, which no shell completes
