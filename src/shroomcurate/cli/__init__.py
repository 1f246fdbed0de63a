"""The commands. Each reads its options, runs its stages and shows what they return; nothing else lives here.

Stages are imported inside their commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import warnings

# Each import registers commands; --help lists them in this order.
from shroomcurate.cli import catalogue  # noqa: F401

# isort: split
from shroomcurate.cli import photos  # noqa: F401

# isort: split
from shroomcurate.cli import look  # noqa: F401

# isort: split
from shroomcurate.cli import judge  # noqa: F401

# isort: split
from shroomcurate.cli import machine  # noqa: F401

# isort: split
from shroomcurate.cli import demonstrate  # noqa: F401
from shroomcurate.cli.app import app
from shroomcurate.terminal import own_this_process


def main() -> None:
    """Run the command line."""
    # Pillow warns about damaged EXIF data; whether a photo is whole is our own question.
    warnings.filterwarnings("ignore", module="PIL")
    own_this_process()
    app()
