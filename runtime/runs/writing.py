"""Writes the files of a run: all of a new one, and those that change when its training goes on by other settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netc.compiler.model import Model
from netc.dsl.quoting import json_text
from netc.runtime import plugins
from netc.runtime.data.block.declarations import DIVISION
from netc.runtime.data.dataset import Dataset
from netc.runtime.data.source_record import SourceRecord
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import write_whole
from netc.runtime.runs.data_changes import records_of
from netc.runtime.runs.folder import new_folder, with_free_name
from netc.runtime.runs.run import Run
from netc.runtime.runs.run_files import INFO, MODEL, STATES, read_info
from netc.runtime.runs.run_info import RunInfo, digest, encoded


def start(model: Model, path: Path, overrides: Mapping[str, Any], dataset: Dataset, program: Program) -> Run:
    """A new run in a new folder: `path`, or `path` with a number if that exists.

    The folder appears with all its files or not at all.
    """
    program.fit(dataset.parts["train"])
    with new_folder(path) as folder:
        run = Run(folder, model, dataset.spec, dataset.states, program, dataset=dataset)
        sources = records_of(dataset, model.source.folder)
        if model.train.start_from is not None:
            from netc.runtime.runs.start_from import start_from

            run.loaded = start_from(model, model.train.start_from, program, sources)
        _write_all(run, overrides, sources)
        run.folder = with_free_name(folder, path)
    return run


def _write_all(run: Run, overrides: Mapping[str, Any], sources: tuple[SourceRecord, ...]) -> None:
    """Writes every file of a new run."""
    from importlib.metadata import version

    model, folder = run.model, run.folder
    text, states = model.source.text.encode(), json_text(run.states, indent=2).encode()
    write_whole(folder / MODEL, text)
    write_whole(folder / STATES, states)
    info = RunInfo(
        name=model.source.name,
        path=str(model.source.path.resolve()) if model.source.path else None,
        set=dict(overrides),
        seed=run.program.seed,
        epochs=model.train.epochs,
        classes=dict(model.counted),
        columns={name: field.columns for name, field in run.spec.fields.items()},
        pictures=run.spec.pictures,
        dialect=run.spec.dialect,
        plugins=list(plugins.loaded()),
        from_arrays=model.data is None,
        division=DIVISION,
        fold=run.spec.split.fold if run.spec.split.way == "folds" else None,
        sources=sources,
        versions={name: version(name) for name in ("netc", "numpy", "llvmlite")},
        hashes={MODEL: [digest(text)], STATES: [digest(states)]},
    )
    write_whole(folder / INFO, encoded(info))
    run.info = info
    run.save()


def rewrite_model(run: Run, model: Model, overrides: Mapping[str, Any]) -> None:
    """Replaces the text of a run's model and the constants that were set, by which training goes on.

    run.json has the hashes of both texts while one replaces the other, so the files belong together at any moment.
    """
    info, _, _ = read_info(run.folder)
    text = model.source.text.encode()
    info.epochs, info.set = model.train.epochs, dict(overrides)
    info.hashes[MODEL].append(digest(text))
    write_whole(run.folder / INFO, encoded(info))
    write_whole(run.folder / MODEL, text)
    info.hashes[MODEL] = [digest(text)]
    write_whole(run.folder / INFO, encoded(info))


def rewrite_sources(run: Run) -> None:
    """Notes in run.json what the run's data is now, on which its training goes on."""
    info, _, _ = read_info(run.folder)
    info.sources = records_of(run.load_data(), run.model.source.folder)
    write_whole(run.folder / INFO, encoded(info))
    run.info, run.data_changes = info, ()
