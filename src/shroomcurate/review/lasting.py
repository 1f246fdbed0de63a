"""A table of which some columns are read at once, and the others when somebody asks for them: all from one file.

The file stays open. When another one takes its name meanwhile, this one still holds what its first columns came with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from shroomcurate.dataset import damaged_table

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

Number = TypeVar("Number", bound="np.generic")


class LastingTable:
    """One table of a dataset.

    Parameters
    ----------
    needed
        Columns without which it is damaged; they are read together, when the first is asked for.
    words
        Those of `needed` that hold few different words: read as numbers of these, fifty times as fast.

    Raises
    ------
    DamagedFile
        It is not Parquet, or lacks a column.
    """

    def __init__(self, path: Path, needed: Sequence[str], words: Sequence[str] = ()) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        try:
            self._file = pq.ParquetFile(path, read_dictionary=list(words))
        except (pa.ArrowInvalid, OSError) as error:
            raise damaged_table(path, error) from error
        for column in needed:
            if column not in self._file.schema_arrow.names:
                raise damaged_table(path, ValueError(f"it lacks the column {column}"))
        self._needed = list(needed)

    @cached_property
    def _first(self) -> pa.Table:
        return self._read(self._needed)

    @cached_property
    def whole(self) -> pa.Table:
        """All of it."""
        return self._read(None)

    def _read(self, columns: list[str] | None) -> pa.Table:
        import pyarrow as pa

        try:
            return self._file.read(columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise damaged_table(self.path, error) from error

    def texts(self, column: str) -> list[str | None]:
        """Return one of the needed columns as text, None where there is none."""
        found = self._first[column]
        return [None] * len(found) if found.null_count == len(found) else found.to_pylist()

    def numbers(self, column: str, unknown: float, dtype: type[Number]) -> NDArray[Number]:
        """Return one of the needed columns as numbers, `unknown` where there is none."""
        import numpy as np

        parts = [np.where(there, values, unknown) for values, there in map(_plain, self._first[column].chunks)]
        return np.concatenate([np.zeros(0), *parts]).astype(dtype)

    def coded(self, column: str, code_of: Mapping[str, int], other: int) -> NDArray[np.int8]:
        """Return a code for each row of a column of words; `other` for words without a code and where there is none."""
        import numpy as np

        found = [np.zeros(0, np.int8)]
        for chunk in self._first[column].chunks:
            codes = [code_of.get(word, other) for word in chunk.dictionary.to_pylist()]
            values, there = _plain(chunk.indices)
            found.append(np.array([*codes, other], np.int8)[np.where(there, values, len(codes))])
        return np.concatenate(found)

    def words(self, column: str) -> set[str]:
        """Return the different words of a column."""
        return {word for chunk in self._read([column])[column].chunks for word in chunk.dictionary.to_pylist()}


def _plain(chunk: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the numbers of an array and which of them are there, by its buffers: to_numpy imports pandas first."""
    import numpy as np

    mask, values = chunk.buffers()
    span = slice(chunk.offset, chunk.offset + len(chunk))
    known = np.frombuffer(values or b"", chunk.type.to_pandas_dtype())[span]
    if mask is None:
        return known, np.ones(len(chunk), bool)
    return known, np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")[span].astype(bool)


def open_table(path: Path, needed: Sequence[str], words: Sequence[str] = ()) -> LastingTable | None:
    """Return a table, None when it is not there. Raises DamagedFile as :class:`LastingTable`."""
    return LastingTable(path, needed, words) if path.exists() else None
