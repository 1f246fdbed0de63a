"""A LiteRT file that says what it takes and gives: labels and metadata inside, as the apps' libraries look for them.

The convention is TensorFlow Lite's (https://ai.google.dev/edge/litert/conversion/tensorflow/metadata): a buffer of the
name ``TFLITE_METADATA`` describes input and output, and files are appended to the model as a zip archive, so that
``unzip -p int8.tflite labels.txt`` shows the labels. The numbers of fields below are those of its
``metadata_schema.fbs``, version 1.1.0; the package that used to write them asks for a protobuf of 2022.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shroomcurate.safety import SAFETY_NOTICE

if TYPE_CHECKING:
    from flatbuffers import Builder

LABELS_FILE = "labels.txt"
_METADATA = "TFLITE_METADATA"


def with_labels(model: bytes, labels: Sequence[str]) -> bytes:
    """Return a LiteRT file with labels and metadata, and without the names that its tensors had in Keras.

    Parameters
    ----------
    model
        A classifier of RGB photos, uint8.
    labels
        Names of its classes, in the order of its outputs; none holds a line break.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    schema = flatbuffer_utils.schema_fb
    described = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    for graph in described.subgraphs:
        for number, tensor in enumerate(graph.tensors):  # Keras' own names count on with each network of a process
            tensor.name = str(number)
        for number, name in ((graph.inputs[0], "photo"), (graph.outputs[0], "logits")):
            graph.tensors[number].name = name
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(_metadata())
    entry.name, entry.buffer = _METADATA, len(described.buffers)
    described.buffers.append(buffer)
    described.metadata = [*(described.metadata or []), entry]
    whole = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(described)))
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), "".join(f"{label}\n" for label in labels))  # dated 1980
    return whole.getvalue()


def read_labels(model: Path) -> list[str]:
    """Return the labels inside a LiteRT file."""
    with zipfile.ZipFile(model) as archive:
        return archive.read(LABELS_FILE).decode().splitlines()


def _metadata() -> bytes:
    """Return the description of the input and of the output as a flatbuffer."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    rgb = _table(builder, {0: ("Int8", 1)})
    image = _table(builder, {0: ("Uint8", 2), 1: ("offset", rgb)})
    # Values go in as they are: (value - 0) / 1.
    unchanged = _table(builder, {0: ("offset", _floats(builder, 0.0)), 1: ("offset", _floats(builder, 1.0))})
    normalization = _table(builder, {0: ("Uint8", 1), 1: ("offset", unchanged)})
    extremes = _table(builder, {0: ("offset", _floats(builder, 255.0)), 1: ("offset", _floats(builder, 0.0))})
    photo = _table(
        builder,
        {
            **_named(builder, "photo", "RGB, 0 to 255"),
            3: ("offset", image),
            4: ("offset", _vector(builder, normalization)),
            5: ("offset", extremes),
        },
    )
    axis_labels = ("Int8", 2)
    labels = _table(builder, {**_named(builder, LABELS_FILE, "class names, one a line"), 2: axis_labels})
    logits = _table(
        builder,
        {
            **_named(builder, "logits", "before softmax; divide them by the temperature in model.json"),
            6: ("offset", _vector(builder, labels)),
        },
    )
    subgraph = _table(builder, {2: ("offset", _vector(builder, photo)), 3: ("offset", _vector(builder, logits))})
    model = _table(
        builder,
        {
            **_named(builder, "shroomcurate baseline", SAFETY_NOTICE),
            3: ("offset", _vector(builder, subgraph)),
            7: ("offset", builder.CreateString("1.0.0")),
        },
    )
    builder.Finish(model, b"M001")
    return bytes(builder.Output())


def _table(builder: Builder, fields: dict[int, tuple[str, int]]) -> int:
    """Write a table; fields by their number, each with its type and value (or where its value lies)."""
    builder.StartObject(max(fields) + 1)
    for number, (kind, value) in fields.items():
        prepend = "UOffsetTRelative" if kind == "offset" else kind
        getattr(builder, f"Prepend{prepend}Slot")(number, value, 0)
    return int(builder.EndObject())


def _named(builder: Builder, name: str, description: str) -> dict[int, tuple[str, int]]:
    """Return the first two fields of every table that has a name."""
    return {0: ("offset", builder.CreateString(name)), 1: ("offset", builder.CreateString(description))}


def _vector(builder: Builder, table: int) -> int:
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())


def _floats(builder: Builder, value: float) -> int:
    builder.StartVector(4, 1, 4)
    builder.PrependFloat32(value)
    return int(builder.EndVector())
