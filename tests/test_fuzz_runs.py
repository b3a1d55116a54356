"""Forged run folders that are opened, evaluated, drawn and trained on: a message, or a result.

Nothing in them is executed, and nothing hangs. `pytest --long tests/test_fuzz_runs.py` forges 1,000 of them.
"""

import random
import resource
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from forged_runs import forged_copy
from support import command, problem_of, write_project
from watching import nothing_else_runs

import netc
from netc.compiler.backends import target_of
from netc.compiler.targets.target import Ranks
from netc.runtime.execution.compiled_model import Options
from netc.runtime.insight import report
from netc.runtime.program import Program
from netc.runtime.runs.opening import open_run
from netc.runtime.trainer import train

SEED = 20261128
MOST_MEMORY = 512 << 20  # in bytes: the run has a few hundred numbers
SECONDS = 10


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs that keeps its best parameters, beside its data."""
    folder = tmp_path_factory.mktemp("trained")
    write_project(folder)
    done = command("train", "m.net", "--out", "run", "--epochs", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


class Interpreted(Program):
    def __init__(self, model: netc.Model, seed: int, threads: int | None, ranks: Ranks | None = None) -> None:
        super().__init__(model, seed, "reference", threads=threads, ranks=ranks)


def use(folder: Path) -> None:
    """Does what commands do with a run, including a step of training."""
    run = open_run(folder)
    run.predict_prepared({"x": np.zeros((2, 2), np.float32)})
    run.evaluate("valid")
    report.page(run)
    again = open_run(folder, to_train=True)
    again.load_data()
    train(again, again.progress.epoch + 1, lambda report: None, lambda row: None)


def test_forged_runs(trained: Path, tmp_path: Path, is_long: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreted, so that nothing is compiled: any code that runs then comes from the folder."""
    monkeypatch.setattr("netc.runtime.runs.opening.Options", partial(Options, target=target_of("reference")))
    monkeypatch.setattr("netc.runtime.runs.opening.Program", Interpreted)
    use(shutil.copytree(trained, tmp_path / "as it was"))
    draw, problems = random.Random(SEED), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for turn in range(1000 if is_long else 60):
        folder = forged_copy(trained, tmp_path / str(turn), draw)
        with nothing_else_runs():
            problem = problem_of(lambda folder=folder: use(folder), SECONDS)
        problems += [f"turn {turn}: {problem}"] if problem else []
        shutil.rmtree(folder)
    assert not problems, "\n\n".join(problems[:5])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < MOST_MEMORY, f"{grown >> 20} MiB more"


def test_some_forged_runs_open(trained: Path, tmp_path: Path) -> None:
    """Not all forgeries are refused because of their hashes, so the code after that check runs too."""
    draw, opened = random.Random(SEED), 0
    for turn in range(40):
        folder = forged_copy(trained, tmp_path / str(turn), draw)
        with suppress(netc.Fault):
            netc.open(folder)
            opened += 1
    assert opened
