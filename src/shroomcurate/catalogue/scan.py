"""The loops over every byte and every row of the dump: ``scan.c``, which is compiled when the package is installed.

NumPy needs a pass over memory for each step of such a loop, several times as long in all. While one of these functions
runs, so do other threads.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path


@cache
def library() -> ctypes.CDLL:
    """Return the functions of ``scan.c``; an array of another type than theirs is refused.

    Raises
    ------
    ImportError
        They were not compiled.
    """
    import numpy as np

    place = Path(__file__).with_name("_scan.so")
    try:
        functions = ctypes.CDLL(str(place))
    except OSError as error:
        raise ImportError(f"{place} cannot be loaded ({error}): install the package anew, pip install -e .") from error
    content, ends, ids, keys, found = (
        np.ctypeslib.ndpointer(kind, flags="C") for kind in (np.uint8, np.int32, np.int64, np.uint64, np.bool_)
    )
    number, bits = ctypes.c_int64, ctypes.c_uint64
    column = [content, ends, number, number, number]
    arguments = {
        "count_lines": [content, number],
        "find_ends": [content, number, number, number, ends],
        "same_text": [*column, ctypes.c_char_p, number, found],
        "integers": [*column, ids, number, ids],
        "uuid_keys": [*column, keys],
        "marks_add": [content, bits, keys, number],
        "marks_have": [content, bits, keys, number, found],
        "keys_have": [found, bits, keys, number, number, keys, number, found],
        "copy_rows": [content, ends, number, number, ids, content],
        "paths_through": [*column, ids, number, found],
        "page_add": [content, number, ids, number, ids],
    }
    for name, types in arguments.items():
        function = getattr(functions, name)
        function.argtypes, function.restype = types, ctypes.c_int64
    return functions
