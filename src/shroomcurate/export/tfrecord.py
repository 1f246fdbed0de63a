"""Records of ``tf.train.Example`` for tf.data, ``<split>-00000-of-00002.tfrecord``, and what reads them back.

``schema.json`` names each feature with its type, its meaning, and what stands for one that a photo lacks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.backbone import load_tensorflow
from shroomcurate.errors import BadOption, DamagedFile, SourceMissing
from shroomcurate.export.options import ExportOptions
from shroomcurate.export.records import SCHEMA, Records
from shroomcurate.export.shards import shards
from shroomcurate.progress import Progress

if TYPE_CHECKING:
    import tensorflow as tf

FILE = "schema.json"

#: Arrow's type -> the type of a feature, and what a reader gives for one that is not there.
_TYPES = {"string": ("string", ""), "int64": ("int64", -1), "double": ("float32", "nan")}


def write(records: Records, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Fill an empty folder with the records and ``schema.json``. A feature that is not known is left away."""
    tf = load_tensorflow()
    done = 0
    index: dict[str, dict[str, int]] = {}
    for split, cut in shards(records, options.shard_mb):
        names = index.setdefault(split, {})
        for number, shard in enumerate(cut):
            name = f"{split}-{number:05}-of-{len(cut):05}.tfrecord"
            names[name] = len(shard)
            with tf.io.TFRecordWriter(str(folder / name)) as writer:
                for row in shard.rows():
                    writer.write(_example(tf, records.read(row), row))
                    done += 1
                    progress(done, len(records), "write photos")
    about = {"name": records.name, "description": records.description, "classes": records.classes}
    text = json.dumps({**about, "features": _features(), "shards": index}, indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def _features() -> dict[str, dict[str, Any]]:
    """Return each feature's type, default and meaning; the photo itself has no default."""
    image = {"type": "string", "meaning": "the photo's file: JPEG, PNG or GIF"}
    known = {
        column.name: {"type": kind, "default": default, "meaning": column.meaning}
        for column in SCHEMA
        if column.name != "path"
        for kind, default in [_TYPES[column.type]]
    }
    return {"image": image, **known}


def _example(tf: Any, content: bytes, row: Mapping[str, Any]) -> bytes:
    """Return a photo as a serialised example. A map has no order of its own, so it is asked for one."""
    features = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))}
    for column in SCHEMA:
        value = row[column.name]
        if column.name == "path" or value is None:
            continue
        if column.type == "string":
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        elif column.type == "int64":
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        else:
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        features[column.name] = feature
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString(deterministic=True))


def read_tfrecord(folder: Path | str, split: str | None = None, *, decode: bool = True) -> tf.data.Dataset:
    """Read an export of the format tfrecord.

    Parameters
    ----------
    folder
        What was exported.
    split
        ``train``, ``val`` or ``test``; None: all of it.
    decode
        Give each photo as a uint8 tensor of shape (height, width, 3); otherwise as its file's bytes.

    Returns
    -------
    tf.data.Dataset
        Of dicts: ``image``, ``label`` and the other features of ``schema.json``.

    Raises
    ------
    SourceMissing
        There is no such export.
    DamagedFile
        Its ``schema.json`` cannot be read.
    BadOption
        It has no such split.
    """
    tf = load_tensorflow()
    folder = Path(folder)
    schema = read_schema(folder)
    if split is not None and split not in schema["shards"]:
        raise BadOption(f"{folder} has no split {split!r}.", f"It has: {', '.join(schema['shards'])}")
    wanted = [split] if split is not None else list(schema["shards"])
    files = [str(folder / name) for each in wanted for name in schema["shards"][each]]
    spec = {
        name: tf.io.FixedLenFeature([], tf.dtypes.as_dtype(each["type"]), _default(each))
        for name, each in schema["features"].items()
    }

    def parse(record: Any) -> dict[str, Any]:
        found: dict[str, Any] = tf.io.parse_single_example(record, spec)
        if decode:
            found["image"] = tf.io.decode_image(found["image"], channels=3, expand_animations=False)
        return found

    return tf.data.TFRecordDataset(files).map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def _default(feature: Mapping[str, Any]) -> Any:
    if "default" not in feature:
        return None
    return float(feature["default"]) if feature["type"] == "float32" else feature["default"]


def read_schema(folder: Path) -> dict[str, Any]:
    """Return ``schema.json``: ``features``, ``classes`` and ``shards`` (split -> file -> photos).

    Raises
    ------
    SourceMissing, DamagedFile
        As :func:`read_tfrecord`.
    """
    file = folder / FILE
    if not file.is_file():
        raise SourceMissing(
            f"There is no {FILE} in {folder}.", "Name the folder that `shroomcurate export --format tfrecord` wrote."
        )
    try:
        schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        schema["features"], schema["shards"], schema["classes"]  # are they there?
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{file} cannot be read: {error}", "Look at it with: shroomcurate verify DIR") from error
    return schema
