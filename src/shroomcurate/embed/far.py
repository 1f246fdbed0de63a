"""Looking at photos on the nodes of a Ray cluster: files go there in blocks, what is known of them comes back.

The nodes see neither the dataset nor the weights: both come by Ray's memory. Rows are the same as those made here.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate.embed.engine import Engine, head_model, litert_head, litert_model, network_block, share_cores
from shroomcurate.embed.look import Block, Looked, Sent, ask, looker, start_helper
from shroomcurate.photos import NotAPhoto, photo_bytes
from shroomcurate.processes import Helper
from shroomcurate.ray_cluster import Cluster, Lost, Started

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AHEAD = 2  # blocks that are on their way while each core has one
_BLOCK_BYTES = 4_000_000  # of photos that travel together: all that are under way lie in this machine's memory
_PATIENCE = 600.0  # seconds for a block, with its waiting: others may use the cluster, too


def far_engine(name: str, weights: Path | None, head: Path | None, cluster: Cluster) -> Engine:
    """Return the engine that looks on a cluster; see :func:`shroomcurate.embed.engine.open_engine`."""
    model = litert_model(name, weights) if weights else None
    classify = litert_head(head_model(name, head)) if head else None
    _, threads = share_cores(model.stat().st_size, max(1, cluster.fewest_cores)) if model else (1, 1)
    return Engine(name, model, None, classify, block=network_block(threads), cluster=cluster, threads=threads)


def look_far(engine: Engine, cluster: Cluster, files: Sequence[tuple[str, Path]]) -> Iterator[Looked]:
    """Yield what the cluster sees of the photos, block by block, in their order.

    What it cannot do, such as a block with a photo that ends the decoder, is done here.
    """
    import numpy as np

    content = engine.model.read_bytes() if engine.model else b""
    network = (engine.name, hashlib.sha256(content).hexdigest(), cluster.share(np.frombuffer(content, np.uint8)))
    at_once = cluster.cores // engine.threads + _AHEAD
    waiting: deque[tuple[Block, Started]] = deque()
    with closing(_Here(engine)) as here:
        for block, sent in _blocks(files, engine.block):
            waiting.append((block, cluster.start(_look, *network, engine.threads, sent, cores=engine.threads)))
            if len(waiting) > at_once:
                yield _result(cluster, here, *waiting.popleft())
        while waiting:
            yield _result(cluster, here, *waiting.popleft())


def _blocks(files: Sequence[tuple[str, Path]], most: int) -> Iterator[tuple[Block, Block]]:
    """Yield so many photos at a time, or fewer large ones, with what is sent of them."""
    sent: list[tuple[str, Sent]] = []
    size = start = 0
    for place, (path, file) in enumerate(files, 1):
        try:
            content: bytes | NotAPhoto | OSError = photo_bytes(file)
        except (NotAPhoto, OSError) as error:  # that photo's trouble alone; the node says it as this machine would
            content = error
        sent.append((path, Sent(content)))
        size += 0 if isinstance(content, Exception) else len(content)
        if len(sent) == most or size >= _BLOCK_BYTES or place == len(files):
            yield files[start:place], sent
            sent, size, start = [], 0, place


def _result(cluster: Cluster, here: _Here, block: Block, task: Started) -> Looked:
    try:
        looked: Looked = cluster.result(task, _PATIENCE)
    except Lost:
        return here.look(block)
    return looked


class _Here:
    """A process of this machine, started when it is needed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.helper: Helper | None = None

    def look(self, block: Block) -> Looked:
        self.helper = self.helper or start_helper(self.engine)
        return ask(self.helper, block)

    def close(self) -> None:
        if self.helper is not None:
            self.helper.dismiss()


# -- on a node -----------------------------------------------------------------------------------------------------

_LOOKERS: dict[str, Callable[[Block], Looked]] = {}  # of this process; Ray gives it many blocks


def _look(name: str, key: str, model: NDArray[np.uint8], threads: int, block: Block) -> Looked:
    """Look at a block with a network that is made ready once."""
    if key not in _LOOKERS:
        _LOOKERS.clear()
        _LOOKERS[key] = looker(name, model.tobytes() or None, threads)
    return _LOOKERS[key](block)
