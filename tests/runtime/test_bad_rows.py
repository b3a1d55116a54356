"""Cells that are refused: which rows a fault names, and which rows remain where a reader leaves the bad ones out."""

import pickle

import numpy as np
import pytest

from netc.dsl.source import NOWHERE
from netc.runtime.data.block.declarations import FieldSpec, StepSpec
from netc.runtime.data.conversion import convert
from netc.runtime.data.pipeline import Part
from netc.runtime.data.steps.remarks import NEW_CATEGORY, Remarks
from netc.runtime.data.tables.cells import BadRows, Location, RowFault, numbers
from netc.runtime.data.tables.row_numbers import RowNumbers
from netc.runtime.data.tables.table import Table


def column(*cells: object) -> np.ndarray:
    array = np.empty(len(cells), object)
    array[:] = cells
    return array


def refused(call) -> RowFault:
    with pytest.raises(RowFault) as caught:
        call()
    return caught.value


def test_a_refusal_names_each_row_once_with_its_first_bad_cell() -> None:
    location = Location("t.csv", ("a", "b"), np.array([2, 3, 4, 4]), NOWHERE)
    mask = np.array([[False, True], [False, False], [True, True], [True, False]])
    fault = refused(lambda: location.refuse(mask, "E0803", lambda index: f"cell {index}"))
    assert [(problem.row, problem.column, problem.reason) for problem in fault.problems] == [
        (2, "b", "cell (0, 1)"),
        (4, "a", "cell (2, 0)"),
    ]
    (diagnostic,) = fault.diagnostics
    assert (diagnostic.title, diagnostic.primary.text) == ("cell (0, 1)", "`t.csv`, row 2, column `b`")


def test_a_refusal_of_no_cell_raises_nothing() -> None:
    Location("t.csv", ("a",), np.arange(2), NOWHERE).refuse(np.zeros(2, bool), "E0803", "wrong")


def test_a_row_fault_survives_a_pool_of_processes() -> None:
    location = Location("t.csv", ("a",), np.array([7]), NOWHERE)
    fault = refused(lambda: location.refuse(np.ones(1, bool), "E0803", "wrong"))
    copy = pickle.loads(pickle.dumps(fault))
    assert (str(copy), copy.problems) == (str(fault), fault.problems)


def test_lists_are_compared_with_the_usual_length() -> None:
    location = Location("t.jsonl", ("x",), np.arange(1, 4), NOWHERE)
    fault = refused(lambda: numbers(column([1], [1, 2], [3, 4]), location))
    assert [problem.row for problem in fault.problems] == [1]


def test_a_reader_of_new_data_leaves_bad_rows_out_by_all_reasons() -> None:
    """A row may be refused by the first step, by the next, or by the type; the others keep their places."""
    from netc.compiler.ir.types import BATCH, Type

    table = Table("t.csv", {"x": column("1", "many", "-1", None, "1e300", "2.5")}, RowNumbers(2))
    scale = StepSpec("scale", (1,), NOWHERE)
    field = FieldSpec("x", ("x",), True, (StepSpec("log", (), NOWHERE), scale), NOWHERE)
    bad = BadRows()
    part = Part(table, np.arange(6), bad_rows=bad)
    values = np.asarray(convert(field, [{}, {"by": 1.0}], part, Type("f32", (BATCH,))))
    assert {row: problem.reason for row, problem in bad.problems.items()} == {
        3: '"many" is not a number',
        4: "-1 has no logarithm",
        5: "a value is missing",
    }
    assert list(values[[0, 4, 5]]) == [np.float32(np.log(value)) for value in (1, 1e300, 2.5)]
    assert list(bad.among(part.row_numbers)) == [False, True, True, True, False, False]


def test_remarks_count_cells_and_keep_a_few_examples() -> None:
    location = Location("t.csv", ("a", "b"), np.arange(4), NOWHERE, Remarks())
    cells = np.array([["p", "x"], ["q", "x"], ["r", "y"], ["s", "x"]], object)
    location.remark_unseen(np.array([[True, True], [True, False], [True, False], [True, False]]), cells)
    unseen = location.remarks.unseen
    assert (unseen["a", NEW_CATEGORY].count, unseen["a", NEW_CATEGORY].examples) == (4, ["p", "q", "r"])
    assert (unseen["b", NEW_CATEGORY].count, unseen["b", NEW_CATEGORY].examples) == (1, ["x"])
