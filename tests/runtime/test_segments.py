"""Segments of trials: the bits of `netc train` with the same settings, in memory, however epochs are divided."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.compiler.targets.cpu.target import Cpu, MachineCode
from netc.compiler.targets.target import Request
from netc.dsl import syntax
from netc.dsl.parser import parse_file
from netc.dsl.structs import replace
from netc.runtime import plugins
from netc.runtime.runs.checkpoint import CHECKPOINT, read_checkpoint
from netc.runtime.runs.run import Run
from netc.runtime.studies import helper
from netc.runtime.studies.segments import Segment, SegmentResult, Segments
from netc.runtime.studies.trial import without_times

DATA = """data {
  source = csv("t.csv")
  x = columns("a", "b") -> standardize
  y = column("v") -> standardize
  split = folds(3)
}
"""
TEXT = f"""
let width = 4
let rate = 0.1
{DATA}model {{
  input x: float[2]
  target y: float
  z = x -> dense(width) -> tanh -> dropout(rate) -> dense(1) -> squeeze
  output guess = z
  loss mse(z, y)
  metric mae(z, y)
}}
train {{
  optimizer = OPTIMIZER
  batch = 8
  epochs = 6
  SETTINGS
}}
"""
KINDS = {
    "plain": ("adam(lr = 0.05)", ""),
    "kept": (
        "sgd(0.05, momentum = 0.9)",
        "keep = best(valid.loss)\n  early_stop = (metric = valid.loss, patience = 1)",
    ),
    "moving": ("adamw(lr = 0.05, decay = 0.1)", "schedule = plateau(patience = 1)\n  clip_norm = 1"),
    "averaged": ("rmsprop(lr = 0.01)", "keep = average(0.9)\n  accumulate = 2"),
    "last": ("adam(lr = 0.05)", "keep = average(last = 2)\n  schedule = cosine()"),
    "searching": ("lbfgs", "batch = 60"),
}


def written(folder: Path, kind: str) -> Path:
    """A model beside its data of 90 rows."""
    draw = np.random.default_rng(0)
    a, b, noise = draw.normal(size=(3, 90)).round(3)
    rows = [f"{a[i]},{b[i]},{5 * a[i] * b[i] + noise[i] + 100:.3f}" for i in range(90)]
    (folder / "t.csv").write_text("\n".join(["a,b,v", *rows]) + "\n", encoding="utf-8")
    optimizer, settings = KINDS[kind]
    text = TEXT.replace("OPTIMIZER", optimizer).replace("SETTINGS", settings)
    if "batch" in settings:
        text = text.replace("batch = 8\n", "").replace(" -> dropout(rate)", "")
    (folder / "m.net").write_text(text, encoding="utf-8")
    return folder / "m.net"


def run_of(path: Path, segment: Segment) -> Run:
    """The run that `netc train` leaves with the settings of a segment, which are written into a file of its own."""
    text = path.read_text(encoding="utf-8").replace("folds(3)", f"folds(3, fold = {segment.fold})")
    beside = path.with_name("plain.net")
    beside.write_text(text, encoding="utf-8")
    settings = {**segment.settings, "seed": segment.seed or 0}
    return netc.train(netc.load(beside, **settings), out=path.parent / "runs" / "m", threads=1)


def bits(segments: Segments, segment: Segment, result: SegmentResult) -> dict[str, bytes]:
    """The parameters and states with which a segment ended."""
    trial = segments.trial(replace(segment, state=result.state))
    return {name: array.tobytes() for name, array in trial.program.persistent.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_has_the_bits_of_a_run(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind)
    segments = Segments(parse_file(path))
    settings = {"width": 5} if kind == "searching" else {"width": 5, "lr": 0.03}
    segment = Segment(settings, until=99, fold=2, seed=7)
    (result,) = segments.train_all([segment])
    run = run_of(path, segment)
    assert result.error is None
    assert result.is_over
    assert list(result.rows) == [without_times(row) for row in run.metrics]
    arrays, progress, _ = read_checkpoint(run.folder / CHECKPOINT)
    assert bits(segments, segment, result) == {name: array.tobytes() for name, array in arrays.items()}
    assert result.epoch == progress.epoch
    used = {name: value for name, value in run.evaluate("valid").items() if isinstance(value, float)}
    assert {name.removeprefix("valid."): result.metrics[name] for name in result.metrics if "valid." in name} == used


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_in_segments_is_the_same(kind: str, tmp_path: Path) -> None:
    segments = Segments(parse_file(written(tmp_path, kind)))
    unbroken = segments.train(Segment({"width": 3}, until=6, fold=1))
    rows: list[Any] = []
    state, is_over, until = None, False, 0
    while not is_over:
        until += 2
        segment = Segment({"width": 3}, until=until, fold=1, state=state)
        result = Segments(segments.file).train(pickle.loads(pickle.dumps(segment)))
        rows, state, is_over = [*rows, *result.rows], result.state, result.is_over
    assert (tuple(rows), state, result.metrics) == (unbroken.rows, unbroken.state, unbroken.metrics)


def test_results_do_not_depend_on_workers_or_order(tmp_path: Path) -> None:
    file = parse_file(written(tmp_path, "kept"))
    several = [
        Segment({"width": width, "lr": lr, "rate": rate}, until=3, fold=fold, seed=seed)
        for width, lr, rate, fold, seed in [
            (3, 0.1, 0.0, 1, 0), (3, 0.02, 0.0, 2, 1), (4, 0.1, 0.3, 1, 0), (3, 0.1, 0.5, 3, 2), (3, 0.3, 0.0, 1, 0)
        ]
    ]  # fmt: skip
    done: list[int] = []
    serial = Segments(file).train_all(several, workers=1, on_done=lambda number, _: done.append(number))
    assert sorted(done) == [0, 1, 2, 3, 4]
    parallel = Segments(file).train_all(several, workers=2)
    backwards = Segments(file).train_all(several[::-1], workers=2)[::-1]
    assert serial == parallel == backwards
    assert pickle.loads(pickle.dumps(serial[0])) == serial[0]
    assert len({result.state for result in serial}) == len(serial)


def test_a_fault_is_a_result(tmp_path: Path) -> None:
    segments = Segments(parse_file(written(tmp_path, "plain")))
    lost, wrong, unknown, fine = segments.train_all(
        [
            Segment({"lr": 1e38}, until=6, fold=1),
            Segment({"lr": -1.0}, until=6, fold=1),
            Segment({"rates": 0.1}, until=6, fold=1),
            Segment({}, until=6, fold=1),
        ]
    )
    assert [entry.error.code if entry.error else "" for entry in (lost, wrong, unknown, fine)] == [
        "E1002", "E0602", "E0201", "",
    ]  # fmt: skip
    assert pickle.loads(pickle.dumps(lost)).error.title == lost.error.title if lost.error else False


def test_an_exception_ends_the_other_segments(tmp_path: Path) -> None:
    segments = Segments(parse_file(written(tmp_path, "plain")))

    def stop(number: int, result: SegmentResult) -> None:
        raise KeyboardInterrupt

    long = Segment({"epochs": 10**6}, until=10**6, fold=1)
    with pytest.raises(KeyboardInterrupt):
        segments.train_all([Segment({}, until=1, fold=1), long, long], workers=2, on_done=stop)


CONSTANTS = f"""
let rate = 0.1
let weight = 0.5
let leak = 0.05
{DATA}model {{
  input x: float[2]
  target y: float
  h = x -> dense(6) -> gelu -> dropout(rate)
  z = where(h > 0, h, leak * h) -> dense(1) -> squeeze
  output guess = z
  loss mse(z, y)
  loss shrunk = weight * mean(h ** 2)
  metric mae(z / weight, y)
}}
train {{
  optimizer = adam(lr = 0.02)
  batch = 8
  epochs = 2
}}
"""


def test_trials_that_differ_in_constants_share_what_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = list[Request]()
    build = Cpu.build

    def counted(target: Cpu, request: Request) -> MachineCode:
        built.append(request)
        return build(target, request)

    path = written(tmp_path, "plain")
    path.write_text(CONSTANTS, encoding="utf-8")
    segments = Segments(parse_file(path))
    draw = np.random.default_rng(1)
    several = [
        Segment(dict(zip(("rate", "weight", "leak"), draw.uniform(0.1, 0.9, 3).tolist(), strict=True)), 2, fold)
        for fold in (1, 2, 3, 1, 2, 3)
    ]
    monkeypatch.setattr(Cpu, "build", counted)
    results = segments.train_all(several, workers=1)
    assert len(built) == 2, "a training step and an evaluation"
    monkeypatch.undo()
    for segment, result in zip(several, results, strict=True):
        run = run_of(path, segment)
        assert list(result.rows) == [without_times(row) for row in run.metrics]
        arrays, _, _ = read_checkpoint(run.folder / CHECKPOINT)
        assert bits(segments, segment, result) == {name: array.tobytes() for name, array in arrays.items()}
    assert segments.train(Segment({"rate": 0.0}, 2, 1)).error is None, "a number that passes read has its own code"


def started(file: syntax.File, monkeypatch: pytest.MonkeyPatch) -> Segments:
    """Segments that start a helper process as soon as two threads train."""
    monkeypatch.setattr(helper, "_WORTH_A_PROCESS", 0.0)
    return Segments(file)


def test_a_helper_process_trains_the_same_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = parse_file(written(tmp_path, "kept"))
    several = [Segment({"lr": lr, "keep": "best(valid.loss)"}, 6, fold) for lr in (0.1, 0.02, 1e38) for fold in (1, 2)]
    expected = Segments(file).train_all(several, workers=1)
    segments = started(file, monkeypatch)
    results = segments.train_all(several * 3, workers=2)
    (process,) = segments._helpers._all
    assert [replace(result, error=None) for result in results] == [replace(entry, error=None) for entry in expected] * 3
    titles = [result.error.title if result.error else None for result in results]
    assert titles == [entry.error.title if entry.error else None for entry in expected] * 3
    here = list[Segment]()
    monkeypatch.setattr(Segments, "train", lambda self, segment, _: here.append(segment))
    assert segments.train_all(several[:1], workers=1)[0].state == expected[0].state, "by the idle helper"
    assert here == []
    segments._helpers.end()
    assert process._process.poll() is not None


def test_the_segment_of_a_helper_that_ends_is_trained_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = started(parse_file(written(tmp_path, "plain")), monkeypatch)
    several = [Segment({"lr": lr}, 2, 1) for lr in (0.1, 0.02, 0.3, 0.4)]
    first = segments.train_all(several, workers=2)
    for process in segments._helpers._all:
        process._process.kill()
        process._process.wait()
    assert segments.train_all(several, workers=2) == first


def test_an_exception_ends_helpers_in_the_middle_of_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = started(parse_file(written(tmp_path, "plain")), monkeypatch)
    segments.train_all([Segment({}, 1, 1)] * 4, workers=2)
    processes = [*segments._helpers._all]
    assert len(processes) == 1

    def stop(number: int, result: SegmentResult) -> None:
        raise KeyboardInterrupt

    long = Segment({"epochs": 10**6}, until=10**6, fold=1)
    with pytest.raises(KeyboardInterrupt):
        segments.train_all([long, Segment({}, until=1, fold=1), long], workers=2, on_done=stop)
    assert processes[0]._process.poll() is not None


def test_additions_of_this_process_alone_are_trained_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_named", ["some.module"])
    segments = started(parse_file(written(tmp_path, "plain")), monkeypatch)
    segments.train_all([Segment({}, 1, 1)] * 4, workers=2)
    assert segments._helpers._all == []
