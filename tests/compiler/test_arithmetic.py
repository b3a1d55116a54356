"""The arithmetic of expressions: what their text counts, and that the functions' numbers are those of their code."""

import re

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from netc.compiler.ir.arithmetic import FUNCTIONS, Arithmetic, arithmetic_of
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.value import OPERATIONS
from netc.compiler.program.scalars import FUNCTION_NAMES
from netc.compiler.targets.cpu.compile import start_llvm, target_machine
from netc.compiler.targets.cpu.math import calls, functions
from netc.compiler.targets.cpu.math.terms import Scope, Term
from netc.compiler.targets.named import NAMED

_ADDED = r"= f(?:add|sub|mul) {kind} |= fcmp \w+ {kind} "
_FUSED, _DIVIDED, _ROOTS = r"call {kind} @llvm\.fma\.", r"= fdiv {kind} ", r"call {kind} @llvm\.sqrt\."
_OF_INTEGERS = {"max_key", "min_key", "of_key"}  # of the loops of reductions, which no expression of an operation calls


@pytest.mark.parametrize(
    ("expression", "flops", "divisions", "roots"),
    [
        ("x + y", 1, 0, 0),
        ("-x", 0, 0, 0),
        ("x * y + 1", 2, 0, 0),
        ("x / y", 1, 1, 0),
        ("1 / sqrt(x)", 2, 1, 1),
        ("T(0) if x < 0 else x", 1, 0, 0),
        ("max(x, T(0)) * abs(y)", 2, 0, 0),
        ("x if 0 < x < y else T(2)", 2, 0, 0),
        ("x - floor(x / y) * y", 8, 1, 0),
        ("(x if x > y else y) if (x if x > y else y) < 2 else x", 2, 0, 0),
    ],
)
def test_an_expression_counts_its_operations(expression: str, flops: int, divisions: int, roots: int) -> None:
    assert arithmetic_of(expression, "f32") == Arithmetic(flops, divisions, roots)


def test_the_functions_of_an_expression_count_by_type() -> None:
    in_f32, in_f64 = FUNCTIONS["sigmoid"]
    assert arithmetic_of("x * sigmoid(x)", "f32") == in_f32 + Arithmetic(1)
    assert arithmetic_of("x * sigmoid(x)", "f64") == in_f64 + Arithmetic(1)
    assert in_f32.flops < in_f64.flops


def test_every_operation_is_counted() -> None:
    for operation in OPERATIONS.values():
        if isinstance(operation.lower, Scalar):
            assert arithmetic_of(operation.lower.expression, "f64").flops >= 0


def test_every_function_has_a_number() -> None:
    names = {name.rpartition("_")[0] for name in FUNCTION_NAMES} - _OF_INTEGERS
    assert names | {"max", "min", "abs", "T"} == FUNCTIONS.keys()


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"max", "min", "abs", "T", "scramble"}))
def test_the_numbers_are_those_of_the_code(name: str, dtype: str) -> None:
    """Counts the instructions of a function after LLVM has dropped what is computed twice."""
    text = _optimised(name, dtype)

    def count(pattern: str) -> int:
        wide = len(re.findall(pattern.format(kind="double"), text))
        return len(re.findall(pattern.format(kind="float"), text)) + wide * (2 if dtype == "f32" else 1)

    divisions, roots = count(_DIVIDED), count(_ROOTS)
    flops = count(_ADDED) + 2 * count(_FUSED) + divisions + roots
    assert FUNCTIONS[name][dtype == "f64"] == Arithmetic(flops, divisions, roots)


def _optimised(name: str, dtype: str) -> str:
    """The LLVM text of a function of numbers: of sin, cos and tan, the way of small angles."""
    definition, module = functions.FUNCTIONS[f"{name}_{dtype}"], ir.Module("counted")
    types = [Scope(None, True).type_of(operand) for operand in definition.operands]
    function = ir.Function(module, ir.FunctionType(Scope(None, True).type_of(definition.result), types), "counted")
    scope = Scope(ir.IRBuilder(function.append_basic_block("entry")), True)
    terms = [Term(scope, operand, value) for operand, value in zip(definition.operands, function.args, strict=True)]
    called = calls.FUNCTIONS.get(name)
    result = called.result(*called.reduced(*terms)) if called is not None else definition.write(*terms)
    scope.builder.ret(result.value)
    start_llvm()
    compiled = llvm.parse_assembly(str(module))
    builder = llvm.create_pass_builder(
        target_machine(NAMED["avx512"]), llvm.create_pipeline_tuning_options(speed_level=1)
    )
    builder.getModulePassManager().run(compiled, builder)
    return str(compiled)
