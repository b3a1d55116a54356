"""Makes a run of several runs: their ensemble (compiler/ensemble/), in a folder of its own that needs none of theirs.

Its run.json has the texts and fitted steps of all members, its checkpoint all their parameters.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import json_text
from netc.runtime.data.stored import Array
from netc.runtime.runs.checkpoint import CHECKPOINT, Progress, path_span, save_checkpoint, write_whole
from netc.runtime.runs.folder import new_folder, require_creatable, with_free_name
from netc.runtime.runs.members import Joined, Trained, joined
from netc.runtime.runs.opening import open_run
from netc.runtime.runs.run import Run
from netc.runtime.runs.run_files import INFO, METRICS, MODEL, STATES
from netc.runtime.runs.run_info import MemberInfo, RunInfo, digest, encoded


def start_ensemble(folders: Sequence[Path], path: Path, threads: int | None = None) -> Run:
    """The ensemble of the runs in `folders`, each with the parameters that it is used with, in a new folder: `path`, or
    `path` with a number if that exists.

    Raises E1009 if they do not fit together, E1001 if a folder is not a run or the new one cannot be made.
    """
    require_creatable(path)
    if len(folders) < 2:
        fault("E1009", "an ensemble has at least two members", path_span(path), f"this is {len(folders)}")
    runs = [open_run(folder, threads) for folder in folders]
    for run in runs:
        _require_member(runs[0], run)
    ensemble = joined([Trained(str(run.folder), run.model, run.spec, run.states) for run in runs])
    with new_folder(path) as folder:
        _write(folder, ensemble, runs)
        return open_run(with_free_name(folder, path), threads)


def _require_member(first: Run, run: Run) -> None:
    """Raises E1009 for a run that is an ensemble itself, that was never trained, or whose data has changed since."""
    assert first.info is not None
    assert run.info is not None
    if run.info.members:
        _refuse(run, "it is an ensemble itself", hint=" ".join(member.run for member in run.info.members))
    if not run.progress.epoch and not run.progress.step:
        _refuse(run, "it has not been trained yet", hint=f"netc train --resume {run.folder}")
    if run.info.division != first.info.division:
        _refuse(run, f"another version of netc divided its rows than those of `{first.folder}`")
    mine = {record.path: record for record in run.info.sources}
    for record in first.info.sources:
        since = f"`{first.folder}` was trained"
        if record.path in mine and (change := record.change(mine[record.path], since)) is not None:
            _refuse(run, change, hint="the rows of one run's test part may be training rows of the other")


def _refuse(run: Run, label: str, hint: str | None = None) -> NoReturn:
    fault("E1009", f"`{run.folder}` cannot be a member", path_span(run.folder), label, hint=hint)


def _write(folder: Path, ensemble: Joined, runs: Sequence[Run]) -> None:
    """Writes every file of an ensemble."""
    first = runs[0].info
    assert first is not None
    text, states = runs[0].model.source.text.encode(), json_text(ensemble.states, indent=2).encode()
    write_whole(folder / MODEL, text)
    write_whole(folder / STATES, states)
    write_whole(folder / METRICS, b"")
    columns = {name: field.columns for name, field in ensemble.spec.fields.items()}
    plugins = [*dict.fromkeys(name for run in runs if run.info is not None for name in run.info.plugins)]
    info: RunInfo = replace(
        first,
        columns=columns,
        plugins=plugins,
        hashes={MODEL: [digest(text)], STATES: [digest(states)]},
        members=tuple(map(_member_of, runs)),
    )
    write_whole(folder / INFO, encoded(info))
    arrays = _arrays(ensemble, runs)
    save_checkpoint(folder / CHECKPOINT, arrays, Progress(), arrays)


def _member_of(run: Run) -> MemberInfo:
    """The facts about a member that run.json of an ensemble has."""
    info = run.info
    assert info is not None
    return MemberInfo(
        run=str(run.folder),
        name=info.name,
        path=info.path,
        text=run.model.source.text,
        set=info.set,
        seed=info.seed,
        epochs=run.progress.epoch,
        classes=info.classes,
        fold=info.fold,
        from_arrays=info.from_arrays,
        states=run.states,
    )


def _arrays(ensemble: Joined, runs: Sequence[Run]) -> dict[str, Array]:
    """The parameters and states of all members by their names in the ensemble, and what their steps have learned."""
    arrays = dict(ensemble.arrays)
    for number, run in enumerate(runs, 1):
        with run.program.guard.reading:
            arrays |= {f"member{number}.{name}": array for name, array in run.program.compiled.state.arrays.items()}
    return {name: arrays[name] for name in (*ensemble.model.trainables, *ensemble.model.states)}
