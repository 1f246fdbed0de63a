"""Figures of each epoch for those who watch trainings elsewhere: TensorBoard, MLflow, Weights & Biases.

Extras, off by default; what they write lies in the run's folder, and nothing goes to any server unless their own
environment variables (``MLFLOW_TRACKING_URI``, ``WANDB_MODE``) say so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import write_bytes
from shroomcurate.errors import BadOption

if TYPE_CHECKING:
    from shroomcurate.training.epochs import Row
    from shroomcurate.training.fitting import Tracker


def open_trackers(
    names: tuple[str, ...], folder: Path, run: str, settings: Mapping[str, Any], done: int = 0
) -> list[Tracker]:
    """Return what is called with each epoch's figures, and with None at the end.

    Parameters
    ----------
    folder
        Where they write: ``tensorboard/``, ``mlflow/``, ``wandb/``.
    settings
        What the run was asked for, for those who keep it.
    done
        Epochs that were told before a training was broken off, which goes on.

    Raises
    ------
    BadOption
        The package of one is not installed.
    """
    known = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
    return [known[name](folder / name, run, settings, done) for name in names]


def require_trackers(names: tuple[str, ...]) -> None:
    """Refuse trackers whose packages are not there.

    Raises
    ------
    BadOption
        The package of one is not installed.
    """
    for name in names:
        if find_spec(name) is None:
            raise _not_installed(name)


def _not_installed(name: str) -> BadOption:
    return BadOption(
        f"--track {name} needs the package {name}, which is not installed.",
        f"Install it beside shroomcurate: pip install {name}",
    )


def _tensorboard(folder: Path, _run: str, _settings: Mapping[str, Any], step: int) -> Tracker:
    try:
        import tensorboard  # noqa: F401  # TensorFlow writes by it
    except ImportError as error:
        raise _not_installed("tensorboard") from error
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))

    def track(row: Row | None) -> None:
        nonlocal step
        if row is None:
            writer.close()
            return
        step += 1
        with writer.as_default(step=step):
            for name, value in row.items():
                tf.summary.scalar(name, value)

    return track


def _mlflow(folder: Path, run: str, settings: Mapping[str, Any], step: int) -> Tracker:
    try:
        import mlflow
    except ImportError as error:
        raise _not_installed("mlflow") from error
    folder.mkdir(parents=True, exist_ok=True)
    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment("shroomcurate")
    named = folder / "run_id"  # it calls runs by an id of its own
    opened = mlflow.start_run(run_id=named.read_text("utf-8") if named.exists() else None, run_name=run)
    if not named.exists():
        mlflow.log_params(dict(settings))
        write_bytes(named, opened.info.run_id.encode())

    def track(row: Row | None) -> None:
        nonlocal step
        if row is None:
            mlflow.end_run()
            return
        step += 1
        mlflow.log_metrics(dict(row), step=step)

    return track


def _wandb(folder: Path, run: str, settings: Mapping[str, Any], step: int) -> Tracker:
    try:
        import wandb
    except ImportError as error:
        raise _not_installed("wandb") from error
    folder.mkdir(parents=True, exist_ok=True)
    opened = wandb.init(
        project="shroomcurate",
        name=run,
        id=run,
        resume="allow",
        dir=str(folder),
        config=dict(settings),
        mode=os.environ.get("WANDB_MODE", "offline"),
    )

    def track(row: Row | None) -> None:
        nonlocal step
        if row is None:
            opened.finish()
            return
        step += 1
        opened.log(dict(row), step=step)

    return track
