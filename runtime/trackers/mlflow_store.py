"""A run in MLflow's database `mlflow.db` of the current folder: `mlflow ui --backend-store-uri sqlite:///mlflow.db`.

mlflow.json in the run's folder has the database and MLflow's id of the run, so that a run that is resumed goes on in
it. Nothing is sent to a server.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import json_text
from netc.dsl.storage.files import content_of, reason
from netc.runtime.metric_values import Row, epoch_of
from netc.runtime.runs.checkpoint import path_span, write_whole
from netc.runtime.runs.run import Run
from netc.runtime.trackers.epochs import scalars
from netc.runtime.typed_json import parsed

FILE, DATABASE, EXPERIMENT = "mlflow.json", "mlflow.db", "netc"
_MOST = 1_000  # metrics that MLflow takes at once


class MlflowRecord(msgspec.Struct):
    """mlflow.json: the path of the database, and MLflow's id of the run."""

    database: str
    run: str


class MlflowTracker:
    """Writes a metric for each number of an epoch, the settings as parameters, and the model's text."""

    def __init__(self, run: Run) -> None:
        # MLflow reports its use to a server unless it is told not to before it is imported
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in ("alembic", "mlflow"):  # they announce every migration of a new database
            logging.getLogger(name).setLevel(logging.WARNING)
        with _messages():
            self._client, self._id = _reopened(run) or _created(run)
            logged = {
                name: max(metric.step for metric in self._client.get_metric_history(self._id, name))
                for name in self._client.get_run(self._id).data.metrics
            }
            self._client.update_run(self._id, status="RUNNING")
            at = time.time() - sum(scalars(row)["seconds"] for row in run.metrics)
            for row in run.metrics:
                at += scalars(row)["seconds"]
                missing = {name: value for name, value in scalars(row).items() if logged.get(name, 0) < epoch_of(row)}
                self._add(missing, row, at)

    def log(self, row: Row) -> None:
        with _messages():
            self._add(scalars(row), row, time.time())

    def close(self, is_over: bool) -> None:
        with _messages():
            self._client.set_terminated(self._id, "FINISHED" if is_over else "KILLED")

    def _add(self, values: dict[str, float], row: Row, at: float) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, int(at * 1000), epoch_of(row)) for name, value in values.items()]
        for start in range(0, len(metrics), _MOST):
            self._client.log_batch(self._id, metrics=metrics[start : start + _MOST])


@contextmanager
def _messages() -> Iterator[None]:
    """Turns what MLflow and its database raise into Fault E1001."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        path = Path(DATABASE)
        fault("E1001", f"MLflow cannot use `{path.resolve()}`", path_span(path), reason(error))


def _reopened(run: Run) -> tuple[Any, str] | None:
    """MLflow's client and the run of mlflow.json, if it is still there."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        record = parsed(content_of(run.folder / FILE), MlflowRecord)
        if not os.path.isfile(record.database):
            return None
        client = MlflowClient(f"sqlite:///{record.database}")
        client.get_run(record.run)
    except (OSError, ValueError, MlflowException):
        return None
    return client, record.run


def _created(run: Run) -> tuple[Any, str]:
    """MLflow's client and a new run, with what is known before training."""
    from mlflow.tracking import MlflowClient

    database = Path(DATABASE).resolve()
    client = MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    artifacts = (database.parent / "mlartifacts").as_uri()
    number = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT, artifacts)
    created: str = client.create_run(number, run_name=run.folder.resolve().name).info.run_id
    write_whole(run.folder / FILE, json_text(msgspec.to_builtins(MlflowRecord(str(database), created))).encode())
    for name, value in _parameters(run).items():
        client.log_param(created, name, value)
    client.log_text(created, run.model.source.text, run.model.source.file_name)
    return client, created


def _parameters(run: Run) -> dict[str, Any]:
    """The settings of training, and the constants that were set."""
    train, constants = run.model.train, run.info.set if run.info is not None else {}
    settings = {"batch": train.batch, "epochs": train.epochs, "seed": run.program.seed, "precision": train.precision}
    optimizer = {f"optimizer.{name}": value for name, value in train.optimizer.numbers.items()}
    return {"optimizer": train.optimizer.name, **optimizer, **settings, **constants}
