"""The tests; those of a module stand in the file of its name."""

import os
import sys

# The sources are compiled once, not by each of the hundreds of processes that tests start, also where the environment
# forbids it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
