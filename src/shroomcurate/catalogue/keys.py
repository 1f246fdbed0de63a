"""Sets of ids and of UUIDs that hold millions and answer for a whole block at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroomcurate.catalogue.scan import library

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
        self._exact = not len(self._sorted) or bool(self._sorted[-1] <= self._low)

    def __len__(self) -> int:
        return len(self._sorted)

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Return which keys are in the set; negative ones never are."""
        import numpy as np

        unsigned, found = keys.view(np.uint64), np.empty(len(keys), bool)
        marks, low, ordered = self._marks, int(self._low), self._sorted
        library().keys_have(marks, low, ordered, len(ordered), self._exact, unsigned, len(keys), found)
        return found


class Marks:
    """A growing set of 64-bit keys that takes no more room for it: it knows for sure what is *not* in it.

    Threads may add at once. Of a million keys that are not in it, it takes 4,000 for members when it holds a million,
    and a third of them when it holds a hundred million.
    """

    def __init__(self) -> None:
        import numpy as np

        self._bits = np.zeros(_MARKS >> 3, np.uint8)

    def add(self, keys: np.ndarray) -> None:
        """Add keys."""
        library().marks_add(self._bits, _MARKS - 1, keys, len(keys))

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Return which keys may be in the set."""
        import numpy as np

        found = np.empty(len(keys), bool)
        library().marks_have(self._bits, _MARKS - 1, keys, len(keys), found)
        return found


class Bits:
    """A growing set of ids, exact, of a bit each: 2 MiB for every 16 million ids that lie together."""

    def __init__(self) -> None:
        self._pages: dict[int, np.ndarray] = {}

    def add(self, ids: np.ndarray) -> np.ndarray:
        """Add ids, none negative; return those that were there already, or stand among them more than once."""
        import numpy as np

        numbers = ids >> _PAGE_BITS
        found, repeated = np.empty(len(ids), np.int64), 0
        for number in distinct(numbers).tolist():
            there = ids[numbers == number]
            repeated += library().page_add(self._page(number), 1 << _PAGE_BITS, there, len(there), found[repeated:])
        return found[:repeated]

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
            words = np.flatnonzero(both.view(np.uint64))  # nearly all of them zero
            places = (words[:, None] * 8 + np.arange(8)).ravel()
            row, bit = np.nonzero(np.unpackbits(both[places, None], axis=1, bitorder="little"))
            found.append((number << _PAGE_BITS) + places[row] * 8 + bit)
        return np.concatenate(found)
