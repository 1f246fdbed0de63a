"""The network's weights: those that `clean` would use, looked for and not fetched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from importlib import util
from pathlib import Path

from shroomcurate.architectures import BACKBONES, DEFAULT_BACKBONE
from shroomcurate.backbone import WEIGHTS_VARIABLE, head_here, weights_here
from shroomcurate.dataset import file_hash
from shroomcurate.doctor.answer import Check
from shroomcurate.errors import WeightsMissing
from shroomcurate.progress import Bytes


def weights() -> Iterator[Check]:
    """Say where the weights of the default network are, whether they are Keras' own, and whether its head is there."""
    backbone = BACKBONES[DEFAULT_BACKBONE]
    try:
        file = weights_here(DEFAULT_BACKBONE)
        head = head_here(DEFAULT_BACKBONE, file) if file else None
    except WeightsMissing as error:
        yield Check("weights", "problem", error.what, todo=(error.hint,))
        return
    if file is None:
        means = f"The first `clean` fetches {backbone.title} from Keras' server, and keeps it."
        todo = (
            f"Without a network: clean --weights PATH, or export {WEIGHTS_VARIABLE}=PATH",
            "Without weights at all: clean --embedder classic",
        )
        yield Check("weights", "ok", "not here yet", means, todo)
        return
    named = f", named by {WEIGHTS_VARIABLE}" if os.environ.get(WEIGHTS_VARIABLE) else ""
    whose = "as Keras gives them out" if _kerass_own(file, backbone.keras_module) else "not a file of Keras' own"
    size = file.stat().st_size
    facts = {"file": str(file), "bytes": size, "sha256": file_hash(file), "head": head and str(head)}
    found = f"{backbone.title}, {Bytes(size)}, {whose}{named}: {file}"
    yield Check("weights", "ok", found, facts=facts)
    if head is None and backbone.keras_head_file:
        means = "Photos are judged all the same; what the network sees in them is not told."
        beside = f"Put {backbone.known_head_files[0]} beside the weights."
        yield Check("ImageNet's head", "warning", "not beside the weights", means, (beside,))
    else:
        yield Check("ImageNet's head", "ok", str(head), facts={"file": str(head)})


def _kerass_own(file: Path, module: str) -> bool:
    """Tell whether Keras knows a file by its hash, without importing Keras, which takes seconds."""
    found = util.find_spec("keras")
    source = Path(found.origin).parent / "src" / "applications" / f"{module}.py" if found and found.origin else None
    if source is None or not source.is_file():
        return False
    with file.open("rb") as handle:
        known_by = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return known_by in source.read_text(encoding="utf-8")
