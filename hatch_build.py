"""Compiles the loops of a load when the package is installed or built: one file of C, without Python's headers."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "src/shroomcurate/catalogue/scan.c"
LIBRARY = "src/shroomcurate/catalogue/_scan.so"


class Compile(BuildHookInterface):
    """Makes the library beside its source, where an editable installation finds it, and puts it into a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile, and name the wheel for this platform and any Python."""
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        made = Path(self.root, f"{LIBRARY}.partial")
        command = [*compiler, "-O3", "-shared", "-fPIC", "-o", str(made), str(Path(self.root, SOURCE))]
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"shroomcurate needs a C compiler: {shlex.join(command)} failed ({error}).") from error
        made.replace(Path(self.root, LIBRARY))  # a process may be using the one before
        build_data["artifacts"].append(f"/{LIBRARY}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
