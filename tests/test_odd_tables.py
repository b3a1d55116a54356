"""Generated tables go through `netc new`, training and predictions, and every value is read as it was written.

`pytest --long tests/test_odd_tables.py` takes 2,000 tables, every tenth through the commands.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_tables import Column, OddTable, odd_table
from support import command

import netc
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.model import Model
from netc.dsl.parser import parse
from netc.dsl.source import NOWHERE, Source
from netc.dsl.structs import replace
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import Dataset, load
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.program import Program
from netc.runtime.starting.starting_file import starting_file

SEED = 221_000
_MOST_REFUSED = 0.2


def year(moment: datetime.datetime) -> float:
    start, end = datetime.datetime(moment.year, 1, 1), datetime.datetime(moment.year + 1, 1, 1)
    return moment.year + (moment - start) / (end - start)


def expected_values(column: Column, rows: Sequence[int]) -> list[Any]:
    """The meaning of the cells of some rows: numbers, dates as years, labels; None where a cell is missing."""
    values = [column.values[row] for row in rows]
    return [year(value) if isinstance(value, datetime.datetime) else value for value in values]


def points(moment: datetime.datetime, cycles: Sequence[str]) -> list[float]:
    """The position of a moment in the year, the week and the day: a sine and a cosine of each."""
    day = (moment - moment.replace(hour=0, minute=0)) / datetime.timedelta(days=1)
    phases = {"year": year(moment) % 1, "week": (moment.weekday() + day) / 7, "day": day}
    return [wave(2 * np.pi * phases[name]) for name in cycles for wave in (np.sin, np.cos)]


def check_cycles(column: Column, rows: Sequence[int], values: np.ndarray, cycles: Sequence[str]) -> int:
    """Compares the points of a date in its cycles. Returns the number of dates compared."""
    cells = [(i, column.values[row]) for i, row in enumerate(rows) if column.values[row] is not None]
    for i, moment in cells:
        np.testing.assert_allclose(values[i], points(moment, cycles), atol=1e-6, err_msg=column.name)
    return len(cells)


def check_values(table: OddTable, model: Model, dataset: Dataset) -> int:
    """Compares what training reads of each part with what was written. Returns the number of cells compared."""
    by_name = {column.name: column for column in table.columns}
    compared = 0
    first = {"csv": 2}.get(table.path.suffix[1:], 1)
    for field in dataset.spec.fields.values():
        names, steps = field.columns, [step.name for step in field.steps]
        for part, fields in dataset.parts.items():
            rows = [int(number) - first for number in dataset.rows[part]]
            values = np.asarray(fields[field.name], np.float64).reshape(len(rows), -1)
            if "cycle" in steps:
                cycles = dataset.states[field.name][-1]["cycles"]
                compared += check_cycles(by_name[names[0]], rows, values, cycles)
                continue
            for step, state in reversed(list(zip(field.steps, dataset.states[field.name], strict=True))):
                if step.name == "one_hot":
                    labels = [*state["classes"], "<unknown>"]
                    assert (values.sum(axis=1) <= 1).all()
                    values = np.array([labels[i] for i in values.argmax(axis=1)], object)[:, None]
                elif step.name in ("standardize", "log", "classes"):
                    undo = STEPS[step.name].undo
                    assert undo is not None
                    values = undo(values.astype(np.int32) if step.name == "classes" else values, state)
            for i, name in enumerate(names):
                expected = expected_values(by_name[name], rows)
                numbers = [x for x in expected_values(by_name[name], range(len(by_name[name].values))) if x is not None]
                for row, cell, value in zip(rows, values[:, i], expected, strict=True):
                    if value is None or cell == "<unknown>":  # a mark among labels is a label
                        assert "impute" in steps or cell in ("<unknown>", by_name[name].cells[row]), name
                    elif isinstance(value, str):
                        assert str(cell) == value, name
                    else:
                        spread = np.std(numbers)
                        assert abs(float(cell) - value) <= 1e-5 * max(spread, abs(value)), name
                    compared += 1
    return compared


def written(table: OddTable, folder: Path) -> Source | None:
    """The first file for a table; None if it is refused, with a message that names the file and has a hint."""
    try:
        start = starting_file("m", table.path, None, folder, NOWHERE, tries=False)
    except netc.Fault as refusal:
        for diagnostic in refusal.diagnostics:
            assert table.path.name in f"{diagnostic.title} {diagnostic.primary.text}", table.dialect
            assert diagnostic.hint, table.dialect
        return None
    return Source("m.net", start.text, folder / "m.net")


def test_tables_of_any_dialect(tmp_path: Path, is_long: bool) -> None:
    count = 2000 if is_long else 20
    refused = compared = 0
    for seed in range(count):
        folder = tmp_path / str(seed)
        folder.mkdir()
        table = odd_table(folder, SEED + seed)
        source = written(table, folder)
        if source is None:
            refused += 1
            continue
        model = elaborate(parse(source))
        model = replace(model, train=replace(model.train, epochs=1))
        dataset = load(model, parse_data(model))
        try:
            compared += check_values(table, model, dataset)
        except AssertionError as error:
            raise AssertionError(f"table {seed}, {table.dialect}\n{source.text}") from error
        program = Program(model, backend="reference")
        losses = program.steps(dataset.training(0, 1), np.arange(min(16, len(dataset.rows["train"]))), 1)
        assert np.isfinite(losses.values["loss"]).all(), table.dialect
    assert refused <= _MOST_REFUSED * count
    assert compared > 200 * (count - refused)


@pytest.mark.parametrize("seed", [1, 4])
def test_tables_through_the_commands(seed: int, tmp_path: Path, is_long: bool) -> None:
    """`new`, `train --epochs 1` and `predict` on the same file: a row of predictions for each row."""
    for number in range(seed, 200 if is_long else seed + 1, 10):
        folder = tmp_path / str(number)
        folder.mkdir()
        table = odd_table(folder, SEED + number)
        done = command("new", "m", "--data", table.path.name, cwd=folder)
        assert "Traceback" not in done.stderr + done.stdout
        if done.returncode:
            assert "hint" in done.stderr, table.dialect
            continue
        trained = command("train", "m.net", "--epochs", "1", cwd=folder)
        assert trained.returncode == 0, f"{table.dialect}\n{trained.stderr}"
        predicted = command("predict", "runs/m", table.path.name, "-o", "p.csv", cwd=folder)
        assert predicted.returncode == 0, f"{table.dialect}\n{predicted.stderr}"
        assert len((folder / "p.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(table.columns[0].cells)
