"""Sets of ids and of UUIDs that hold millions and answer for a whole block at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: Bytes of a set's table, at least and at most: 16 for each key in it, where that is possible.
_SMALLEST, _LARGEST = 1 << 22, 1 << 29

#: Bits of :class:`Marks`, whatever the size of the dump.
_MARKS = 1 << 28

_PAGE_BITS = 24


def distinct(values: np.ndarray) -> np.ndarray:
    """Return each value once, in order; on such arrays a sort is many times faster than ``numpy.unique``."""
    import numpy as np

    ordered = np.sort(values)
    once: np.ndarray = ordered[_firsts(ordered)]
    return once


def _firsts(ordered: np.ndarray) -> np.ndarray:
    """Return where each value stands first, in an array that has equal ones side by side."""
    import numpy as np

    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])


class KeySet:
    """A set of 64-bit keys, made once: marks by their low bits answer for most keys, a sorted array for the rest.

    Parameters
    ----------
    keys
        Integers of any kind, none negative.
    """

    def __init__(self, keys: np.ndarray) -> None:
        import numpy as np

        self._sorted = distinct(keys.astype(np.uint64))
        size = 1 << max(16 * len(self._sorted) - 1, 1).bit_length()
        self._marks = np.zeros(min(max(size, _SMALLEST), _LARGEST), bool)
        self._low = np.uint64(len(self._marks) - 1)
        self._marks[self._sorted & self._low] = True
        # With every key below the table's size, its mark is its own.
        self._exact = not len(self._sorted) or self._sorted[-1] <= self._low

    def __len__(self) -> int:
        return len(self._sorted)

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Return which keys are in the set; negative ones never are."""
        import numpy as np

        unsigned = keys.view(np.uint64)
        found: np.ndarray = self._marks[unsigned & self._low]
        if self._exact:
            found &= unsigned <= self._low
            return found
        candidates = np.flatnonzero(found)
        wanted = unsigned[candidates]
        place = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        found[candidates] = self._sorted[place] == wanted
        return found


def _places(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the byte of each number in an array of bits, and the bit there."""
    import numpy as np

    return numbers >> 3, np.uint8(1) << (numbers & 7).astype(np.uint8)


def _set(page: np.ndarray, places: np.ndarray, bits: np.ndarray) -> None:
    """Set bits in the bytes of a page; of bytes that stand there more than once, all side by side."""
    import numpy as np

    first = _firsts(places)
    if len(first):
        page[places[first]] |= np.bitwise_or.reduceat(bits, first)


class Marks:
    """A growing set of 64-bit keys that takes no more room for it: it knows for sure what is *not* in it.

    Threads may add at once. Of a million keys that are not in it, it takes 4,000 for members when it holds a million,
    and a third of them when it holds a hundred million.
    """

    def __init__(self) -> None:
        import numpy as np

        self._bits = np.zeros(_MARKS >> 3, np.uint8)
        self._adding = threading.Lock()

    def add(self, keys: np.ndarray) -> None:
        """Add keys."""
        import numpy as np

        places, bits = _places(np.sort(keys.view(np.int64) & (_MARKS - 1)))
        with self._adding:
            _set(self._bits, places, bits)

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Return which keys may be in the set."""
        import numpy as np

        places, bits = _places(keys.view(np.int64) & (_MARKS - 1))
        found: np.ndarray = self._bits[places] & bits != 0
        return found


class Bits:
    """A growing set of ids, exact, of a bit each: 2 MiB for every 16 million ids that lie together."""

    def __init__(self) -> None:
        self._pages: dict[int, np.ndarray] = {}

    def add(self, ids: np.ndarray) -> np.ndarray:
        """Add ids, none negative; return those that were there already, or stand among them more than once."""
        import numpy as np

        ordered = np.sort(ids)
        again = [ordered[1:][ordered[1:] == ordered[:-1]]]
        numbers = ordered >> _PAGE_BITS
        starts = _firsts(numbers).tolist()
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=False):
            page = self._page(int(numbers[start]))
            places, bits = _places(ordered[start:end] & ((1 << _PAGE_BITS) - 1))
            again.append(ordered[start:end][page[places] & bits != 0])
            _set(page, places, bits)
        return np.concatenate(again)

    def _page(self, number: int) -> np.ndarray:
        import numpy as np

        if number not in self._pages:
            self._pages[number] = np.zeros(1 << (_PAGE_BITS - 3), np.uint8)
        return self._pages[number]

    def has(self, ids: list[int]) -> list[int]:
        """Return those of the ids that are in the set."""
        places = ((number, number >> _PAGE_BITS, number & ((1 << _PAGE_BITS) - 1)) for number in ids)
        return [
            number
            for number, page, place in places
            if page in self._pages and self._pages[page][place >> 3] >> (place & 7) & 1
        ]

    def common(self, other: Bits) -> np.ndarray:
        """Return the ids that are in both sets, in order."""
        import numpy as np

        found = [np.empty(0, np.int64)]
        for number in sorted(self._pages.keys() & other._pages.keys()):
            both = self._pages[number] & other._pages[number]
            places = np.flatnonzero(both)  # of bytes, nearly all of them zero
            row, bit = np.nonzero(np.unpackbits(both[places, None], axis=1, bitorder="little"))
            found.append((number << _PAGE_BITS) + places[row] * 8 + bit)
        return np.concatenate(found)
