"""The benchmark of operations covers the language: every operation and block, forward and backward."""

import json

import pytest

from benchmarks.cases import ELSEWHERE, GRID, LISTED, STATED, Case, cases, uncovered
from benchmarks.operations import backward, forward, measure, show
from netc.compiler.ir.value import OPERATIONS, register
from netc.extend import elementwise

CASES = list(cases())


@pytest.fixture(autouse=True)
def _ticks_are_counted_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark counts the clock's ticks in a million steps."""
    monkeypatch.setattr("benchmarks.operations._STEPS", 10)


def test_every_operation_and_block_has_a_case_or_a_reason() -> None:
    assert uncovered() == set()
    named = {*ELSEWHERE, *LISTED, *STATED}
    assert named <= OPERATIONS.keys(), "operations that are gone"
    assert not ELSEWHERE.keys() & {case.name for case in CASES}


def test_a_new_operation_is_uncovered_until_it_has_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, "silence", OPERATIONS["flatten"])
    assert uncovered() == {"silence"}


def test_an_elementwise_operation_is_covered_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OPERATIONS, "exp")
    before = len(list(cases("small f32")))
    register(elementwise("exp", "e ** x.", scalar="exp(x)", reference=lambda x: x, gradient=lambda g, r, x: g * r))
    assert len(list(cases("small f32"))) == before + 1
    assert uncovered() == set()


@pytest.mark.parametrize("case", [case for case in CASES if case.dtype == "f32" and case.size == "odd"], ids=str)
def test_a_case_is_a_model(case: Case) -> None:
    """Its graphs can be built. A case with a weight, or a float that it maps to a float, has a gradient."""
    results = forward(case).results
    assert results
    gradients = backward(case)
    has_floats = all(value.type.is_float for value in results.values())
    assert has_floats or gradients is None


def test_shapes_are_of_three_sizes_and_two_precisions() -> None:
    assert {(case.size, case.dtype) for case in CASES} == {(size, dtype) for size in GRID for dtype in ("f32", "f64")}
    counts = {key: sum((case.size, case.dtype) == key for case in CASES) for key in {(c.size, c.dtype) for c in CASES}}
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("tanh small f32", {"forward", "input gradient"}),
        ("dense small f32", {"forward", "input gradient", "weight gradient"}),
        ("rnn small f32", {"forward", "input gradient", "weight gradient"}),
        ("argmax small f32", {"forward"}),
    ],
)
def test_a_case_is_measured_forward_and_backward(name: str, parts: set[str]) -> None:
    (case,) = [case for case in CASES if str(case) == name]
    rows = list(measure(case, seconds=0.0))
    assert {row.gives for row in rows} == parts
    assert all(row.seconds > 0 and row.nbytes > 0 and row.bound.seconds > 0 for row in rows)
    assert all(row.share == row.bound.seconds / row.seconds for row in rows)


def test_the_table_is_plain_data(capsys: pytest.CaptureFixture[str]) -> None:
    """`--save` writes it as JSON."""
    (row,) = json.loads(json.dumps(show("argmax small f32", seconds=0.0)))
    assert row["gives"] == "forward"
    assert row["bound"]["seconds"] > 0
    assert "1 rows" in capsys.readouterr().out
