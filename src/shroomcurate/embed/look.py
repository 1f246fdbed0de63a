"""Looking at a block of photos: from the files to all that is known of each, in this process or in one beside it.

A block is looked at step by step, each step for all its photos. One photo at a time costs a fifth more: decoding,
evidence and network then drive each other out of the processor's caches.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.dataset import printable
from shroomcurate.descriptors import classic_vector, perceptual_hash
from shroomcurate.embed.engine import SHORTER_SIDE, Engine, litert, network_input
from shroomcurate.embed.rows import Facts
from shroomcurate.evidence import PIXEL_COLUMNS, make_thumbnails, measure, shrink
from shroomcurate.photos import NotAPhoto, decode_photo, photo_bytes
from shroomcurate.processes import Helper, answer_all, own_command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


class Sent(NamedTuple):
    """A photo's file on its way to another machine, or why this one cannot read it."""

    content: bytes | NotAPhoto | OSError

    def read(self) -> bytes:
        """Return the file. Raises what reading it did."""
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


#: Path of a photo, as the table names it, and its file.
Block = Sequence[tuple[str, Path | Sent]]

#: Photos below which this process looks at all of them itself: starting others takes as long.
_FEW = 300

#: Seconds for a block: a decoder that never ends is ended.
_PATIENCE = 120.0


class Looked(NamedTuple):
    """What is known of the photos of a block."""

    failed: dict[str, str]
    """Path -> why it does not decode."""
    paths: list[str]
    """The others, in their order."""
    facts: list[Facts]
    evidence: NDArray[np.float32]
    """Shape (photos, pixel columns)."""
    values: NDArray[Any]
    """A vector for each, or what the network wants of each."""


@contextmanager
def lookers(engine: Engine, photos: int) -> Iterator[tuple[Callable[[Block], Looked], int]]:
    """Give a function that looks at a block, and how many threads shall call it at once to keep all cores busy.

    Processes, not threads, do the work where it is worth their start: it is many short steps, between which threads
    hand on Python's lock. A photo on which the decoder crashes costs itself only.
    """
    if engine.workers == 1 or photos < _FEW:
        yield looker(engine.name, engine.model), 1
        return
    helpers = [start_helper(engine) for _ in range(engine.workers)]
    idle: SimpleQueue[Helper] = SimpleQueue()
    for helper in helpers:
        idle.put(helper)

    def look(block: Block) -> Looked:
        helper = idle.get()
        try:
            return ask(helper, block)
        finally:
            idle.put(helper)

    try:
        yield look, len(helpers)
    finally:
        for helper in helpers:
            helper.dismiss()


def start_helper(engine: Engine) -> Helper:
    """Start a process that looks at blocks."""
    return Helper(own_command("shroomcurate.embed.look", engine.name, *([str(engine.model)] if engine.model else [])))


def ask(helper: Helper, block: Block) -> Looked:
    """Return what a process says of a block; a photo that ends it does not decode."""
    import numpy as np

    answer = helper.ask(block, _PATIENCE)
    if isinstance(answer, Exception):
        raise answer
    if answer is not None:
        looked: Looked = answer
        return looked
    if len(block) > 1:
        one, other = (ask(helper, half) for half in (block[: len(block) // 2], block[len(block) // 2 :]))
        parts = [part for part in (one, other) if part.paths] or [one]
        evidence, values = (np.concatenate([part[column] for part in parts]) for column in (3, 4))
        return Looked(one.failed | other.failed, one.paths + other.paths, one.facts + other.facts, evidence, values)
    how = helper.ended
    if helper.ask([], _PATIENCE) is None:
        raise RuntimeError(f"a process that looks at photos does not start ({helper.ended})")
    nothing = np.empty((0, 0), np.float32)
    return Looked({block[0][0]: f"it ends the decoder ({how})"}, [], [], nothing, nothing)


def looker(name: str, model: Path | bytes | None, threads: int = 1) -> Callable[[Block], Looked]:
    """Return a function that looks at a block, for one caller at a time.

    Parameters
    ----------
    name
        A key of :data:`shroomcurate.backbone.BACKBONES`, or ``classic``.
    model
        Its LiteRT file, or what is in it; None for ``classic``, and where vectors are computed elsewhere of what the
        network wants.
    threads
        Of the network.
    """
    look = classic_vector if name == "classic" else network_input
    infer = litert(model, 1, threads) if model else None
    return lambda block: look_at(block, look, infer)


def look_at(
    block: Block,
    look: Callable[[Image], NDArray[Any]],
    infer: Callable[[NDArray[Any]], NDArray[np.float32]] | None = None,
) -> Looked:
    """Decode the photos of a block and describe them.

    Parameters
    ----------
    look
        Photo -> its vector, or what `infer` makes a vector of.
    """
    import numpy as np

    failed: dict[str, str] = {}
    paths, files, smalls, values = [], [], [], []
    for path, file in block:
        try:
            if printable(path) != path:
                raise NotAPhoto("its name is not UTF-8")
            content = file.read() if isinstance(file, Sent) else photo_bytes(file)
            photo = decode_photo(content, at_least=SHORTER_SIDE)
        except (NotAPhoto, OSError) as error:  # one photo's trouble is that photo's alone
            failed[path] = str(error) or type(error).__name__
            continue
        paths.append(path)
        files.append((len(content), hashlib.sha256(content).hexdigest()))
        values.append(look(photo))
        smalls.append(shrink(photo))
    hashes, evidence = _measured(smalls)
    facts = [Facts(size, sha256, each) for (size, sha256), each in zip(files, hashes, strict=True)]
    return Looked(failed, paths, facts, evidence, np.array([infer(each) for each in values] if infer else values))


def _measured(smalls: Sequence[Image]) -> tuple[list[int], NDArray[np.float32]]:
    """Return the perceptual hash and the evidence of each small photo; those of one size are measured together."""
    import numpy as np

    hashes, evidence = [0] * len(smalls), np.empty((len(smalls), len(PIXEL_COLUMNS)), np.float32)
    alike = defaultdict(list)
    for place, small in enumerate(smalls):
        alike[small.size].append(place)
    for places in alike.values():
        thumbnails = make_thumbnails([smalls[place] for place in places])
        evidence[places] = measure(thumbnails)
        for place, grey in zip(places, thumbnails.grey, strict=True):
            hashes[place] = perceptual_hash(grey)
    return hashes, evidence


def main() -> None:
    """Look at blocks until there are no more."""
    answer_all(looker(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None))
