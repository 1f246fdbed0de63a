"""How fast a server is asked: how many requests at a time, how many a second, how many bytes a second."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from shroomcurate.errors import BadOption
from shroomcurate.transport import MAX_PAUSE, Answer

FIRST_REQUESTS = 4  # at a time: S3 answers 503 to sudden ramps
_UNITS = {"": 1, "B": 1, "K": 1e3, "KB": 1e3, "M": 1e6, "MB": 1e6, "G": 1e9, "GB": 1e9}
_RATE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(|B|[KMG]B?)(?:\s*/\s*s)?", re.IGNORECASE | re.ASCII)


def read_rates(texts: Sequence[str]) -> tuple[float, float]:
    """Return the most requests and the most bytes a second that ``--max-rate`` allows; infinite when not given.

    ``20`` means requests; a unit makes it bytes: ``2MB``, ``500 kB/s``.

    Raises
    ------
    BadOption
        No rate, or one of each kind at most.
    """
    found: dict[bool, float] = {}
    for text in texts:
        match = _RATE.fullmatch(text.strip())
        amount = float(match[1]) * _UNITS[match[2].upper()] if match else 0.0
        if match is None or amount <= 0:
            raise BadOption(
                f"--max-rate {text!r} is no rate.",
                "Type requests a second (20) or bytes a second (500kB, 2MB); without it there is no limit.",
            )
        of_bytes = bool(match[2])
        if of_bytes in found:
            raise BadOption(
                f"--max-rate {text} is the second one in {'bytes' if of_bytes else 'requests'}.", "Give one of a kind."
            )
        found[of_bytes] = amount
    return found.get(False, math.inf), found.get(True, math.inf)


class Rate:
    """Spaces amounts so that no more than ``most`` of them pass in a second; none is saved up while nothing passes."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.free_at = -math.inf

    def book(self, amount: float, now: float) -> float:
        """Return the seconds until this amount may pass, and book it."""
        start = max(self.free_at, now)
        self.free_at = start + amount / self.most
        return start - now

    def correct(self, amount: float) -> None:
        """Book more, or give back (negative), once the true amount is known."""
        self.free_at += amount / self.most


class Line:
    """How many requests at a time the server bears, and when the next may go.

    Like TCP: one more per answer at first, halved when the server is overloaded, then one more per round. What a server
    asks one worker to wait, all of them wait.

    Parameters
    ----------
    most
        Requests at a time.
    rates
        The most requests and the most bytes a second.
    size
        Bytes that an answer probably has, until answers have come.
    """

    def __init__(self, most: int, rates: tuple[float, float] = (math.inf, math.inf), size: float = 0.0) -> None:
        self.most = most
        self.allowed = float(min(FIRST_REQUESTS, most))
        self.slowed_at: float | None = None
        self.held_until = -math.inf
        self.requests, self.bytes = (Rate(rate) for rate in rates)
        self.size = size

    def turn(self, now: float) -> float:
        """Return the seconds to wait before the next request, which is booked."""
        start = max(now, self.held_until)  # behind a pause requests are as far apart as before it
        return start - now + max(self.requests.book(1, start), self.bytes.book(self.size, start))

    def hear(self, answer: Answer, now: float) -> None:
        """Take note of an answer that came at ``now`` (seconds on any steady clock)."""
        came = len(answer.body)
        self.bytes.correct(came - self.size)
        if answer.kind == "ok":
            self.size += (came - self.size) / 20
        if answer.kind == "unreachable":
            return
        if not answer.overloaded:
            self.allowed = min(self.most, self.allowed + (1.0 if self.slowed_at is None else 1.0 / self.allowed))
            return
        self.held_until = max(self.held_until, now + min(answer.retry_after or 0.0, MAX_PAUSE))
        if self.slowed_at is None or now - self.slowed_at > 1.0:  # one burst of refusals counts once
            self.allowed = max(1.0, self.allowed / 2)
            self.slowed_at = now
