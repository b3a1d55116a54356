"""The generator: a seed gives the same program, all features of the language occur, data fits; and the reducer."""

import re
from functools import cache

import numpy as np
import pytest

import netc
from netc.compiler.elaborate.forms.table import FORMS
from netc.compiler.ir.value import OPERATIONS
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.dsl.library import __file__ as library
from netc.dsl.structs import replace
from tests.programs.campaign import first_difference
from tests.programs.endings import ENDINGS
from tests.programs.generator import PRODUCTIONS, attempt, generate, outcome
from tests.programs.metrics import METRICS
from tests.programs.program import Lengths, Program, Statement, make_data
from tests.programs.reduce import as_test, reduced, without
from tests.programs.values import Steps, Type, floats

MANY = 900  # the programs of these seeds contain every feature of the language
SETTINGS = (
    "clip_norm",
    "clip_value",
    "schedule",
    "freeze",
    "lr_scale",
    "loss_scale",
    "memory",
    "accumulate",
    "truncate",
    "shards",
)
# in place of an optimizer that searches, the checks take gradient descent (runtime/verification/subject.py)
STEPPING = tuple(name for name, rule in OPTIMIZERS.items() if not rule.searches)
SCANS = ("scan in a scan", "until", "swapped carries", "delayed carry", "constant carry", "kept carry")
STATES = (
    "swapped states",
    "state of the batch",
    "running mean",
    "state that is a view of itself",
    "state without an update",
)


@cache
def many() -> list[Program]:
    """Programs before the compiler has seen them."""
    return [program for seed in range(MANY) if (program := attempt(seed, 0)) is not None]


def test_a_seed_gives_one_program() -> None:
    for seed in range(5):
        first, second = generate(seed), generate(seed)
        assert first == second
        for name, values in first.data.items():
            np.testing.assert_equal(second.data[name], values)


def test_few_programs_are_refused() -> None:
    results = [outcome(seed) for seed in range(40)]
    assert all(result.program is not None and not result.findings for result in results)
    assert sum(len(result.rejected) for result in results) < 0.2 * len(results)


def test_every_operation_and_block_is_generated() -> None:
    words = set().union(*(re.findall(r"\w+", program.text) for program in many()))
    blocks = re.findall(r"^block (\w+)", "\n".join(path.read_text() for path in _library_files()), re.MULTILINE)
    callable_operations = {name for name, operation in OPERATIONS.items() if operation.is_callable}
    assert not {*callable_operations, *FORMS, *blocks, *STEPPING} - words


def _library_files() -> list:  # type: ignore[type-arg]
    from pathlib import Path

    return sorted(Path(library).parent.glob("*.net"))


def test_every_feature_is_generated() -> None:
    features = set().union(*(program.features for program in many()))
    assert not {*PRODUCTIONS, *(metric.name for metric in METRICS), *SETTINGS, *SCANS, *STATES, *STEPPING} - features
    assert (
        not {"weighted", "class weights", "penalty", "several losses", "several inputs", "several targets"} - features
    )
    assert (
        not {"shadowing", "tied parameter", "block as an argument", "two varying dimensions", "grad in a loss"}
        - features
    )
    assert len(ENDINGS) > 5


def test_data_has_the_types_of_the_fields() -> None:
    steps = Steps("time", "time")
    fields = {"x": floats(steps, 3), "y": Type("class", (), 4), "z": floats(steps.shortened(1).divided(2))}
    data = make_data(fields, (Lengths("time", 3, 6),), samples=20, seed=1)
    lengths = [len(sequence) for sequence in data["x"]]
    assert set(lengths) <= {3, 4, 5, 6}
    assert len(set(lengths)) > 1
    assert [len(sequence) for sequence in data["z"]] == [-(-(length - 1) // 2) for length in lengths]
    assert data["y"].shape == (20,)
    assert set(data["y"]) <= {0, 1, 2, 3}
    fewer = make_data({"x": fields["x"]}, (Lengths("time", 3, 6),), samples=20, seed=1)
    np.testing.assert_equal(fewer["x"], data["x"])


def test_a_dimension_computes_the_length_that_it_needs() -> None:
    steps = Steps("time", "time").divided(2).shortened(1)
    for least in (1, 2, 3):
        assert steps.count({"time": steps.needs(least)}) == least
        assert steps.count({"time": steps.needs(least) - 1}) < least


def test_statements_are_removed_with_their_readers() -> None:
    statements = (
        Statement("", ("a",), " = 1"),
        Statement("", ("b",), " = {0}", ("a",)),
        Statement("", ("c",), " = 2"),
        Statement("", ("b",), " = {0}", ("c",)),
        Statement("", ("d",), " = {0}", ("b",)),
    )
    assert [statement.head for statement in without(statements, 0, 1)] == ["c = 2", "b = c", "d = b"]
    assert [statement.head for statement in without(statements, 2, 3)] == ["a = 1", "b = a"]


def test_a_failure_is_reduced() -> None:
    """A planted failure is reduced to the statements that it needs.

    It is the softmax of a value that went through tanh, in batches of more than two.
    """

    def fails(program: Program) -> bool:
        names = re.findall(r"(\w+)(?:: \S+)? = tanh", program.text)
        return program.batch > 2 and any(re.search(rf"softmax\({name}\b", program.text) for name in names)

    programs = [
        program
        for seed in range(150)
        if (program := attempt(seed, 0)) is not None and fails(program) and _is_accepted(program)
    ]
    generated = min(programs, key=lambda program: len(program.text))  # each attempt parses the text that is left
    assert len(generated.statements) >= 12
    smallest = reduced(generated, fails, attempts=400)
    assert fails(smallest)
    assert _is_accepted(smallest)
    computed = [statement for statement in smallest.statements if statement.keyword not in ("input", "target")]
    assert len(computed) <= 4, smallest.text  # tanh and softmax, a parameter for the loss, and the loss
    assert smallest.samples == 1
    assert len(smallest.text) < len(generated.text)
    pasted = as_test(smallest, ["plan"], "seed 7 plan")
    assert f"verify(Subject(netc.parse(text), data, seed={smallest.seed}), ['plan']) == []" in pasted


def _is_accepted(program: Program) -> bool:
    try:
        netc.parse(program.text)
    except netc.Fault:
        return False
    return True


def test_a_wrong_gradient_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finite differences and PyTorch both detect a wrong rule of tanh."""
    pytest.importorskip("torch")
    x, y = floats(3), floats(2)
    statements = (
        Statement("input", ("x",), ": float[3]", types=(x,)),
        Statement("target", ("y",), ": float[2]", types=(y,)),
        Statement("", ("h",), " = {0} -> dense(2)", ("x",), (y,)),
        Statement("", ("z",), " = tanh({0})", ("h",), (y,)),
        Statement("loss", (), "mse({0}, {1})", ("z", "y")),
    )
    program = Program(1, (), statements, (("precision", "f64"),), (), samples=3)
    assert first_difference(program, "pytorch") is None
    assert first_difference(program, "gradients") is None
    monkeypatch.setitem(OPERATIONS, "tanh", replace(OPERATIONS["tanh"], gradient=lambda g, r, x: g * 0.5))
    assert first_difference(program, "pytorch") is not None
    assert first_difference(program, "gradients") is not None
