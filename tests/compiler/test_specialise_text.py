"""The text of a kernel for one machine: branches that depend on lanes alone are decided, others stay."""

import ast

import pytest

from netc.compiler.targets.cpu.text.specialise_text import specialised
from netc.compiler.targets.named import machine_for

TEXT = """\
if 9 >= LANES_f32:
    a = LANES_f32
    if n0 > LANES_f32:
        b = 1
    else:
        b = 2
else:
    a = 0
"""


@pytest.mark.parametrize(
    ("target", "expected"),
    [("sse2", "a = 4\nif n0 > 4:\n    b = 1\nelse:\n    b = 2"), ("avx512", "a = 0")],
)
def test_branches_that_depend_on_lanes_alone_are_decided(target: str, expected: str) -> None:
    assert ast.unparse(specialised(TEXT, machine_for(target))) == expected


BOTH = """\
if (n0 <= 9) & (9 < LANES_f32):
    a = 1
else:
    a = 2
"""


@pytest.mark.parametrize(("target", "expected"), [("sse2", "a = 2"), ("avx512", ast.unparse(ast.parse(BOTH)))])
def test_a_test_of_two_is_decided_by_one_that_fails(target: str, expected: str) -> None:
    assert ast.unparse(specialised(BOTH, machine_for(target))) == expected.replace("LANES_f32", "16")


LOOPS = """\
for i0 in range(n0):
    for i1 in row(n1):
        store_f32_0(p0, i0 * n1 + i1, exp_f32(load_f32_1(p1, i1)))
    for i1 in range(n1):
        store_f32_0(p0, i0 * n1 + i1, floor_f32(load_f32_1(p1, i1)))
"""


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("avx2", ["range(n0)", "row(n1, interleave=4)", "range(n1)"]),
        ("avx512", ["range(n0)", "row(n1)", "range(n1)"]),
    ],
)
def test_loops_of_long_functions_are_interleaved_where_registers_are_few(target: str, expected: list[str]) -> None:
    loops = [node for node in ast.walk(specialised(LOOPS, machine_for(target))) if isinstance(node, ast.For)]
    assert [ast.unparse(loop.iter) for loop in loops] == expected


@pytest.mark.parametrize(
    ("target", "dtype", "length", "expected"),
    [
        ("sse2", "f32", 3, "row(3)"),
        ("sse2", "f32", 7, "row(7)"),
        ("sse2", "f32", 8, "row(8, interleave=2)"),
        ("avx2", "f64", 15, "row(15, interleave=2)"),
        ("avx2", "f64", 16, "row(16, interleave=4)"),
        ("avx2", "f32", 100, "row(100, interleave=4)"),
    ],
)
def test_loops_are_interleaved_by_vectors_that_they_fill(target: str, dtype: str, length: int, expected: str) -> None:
    text = f"for i in row({length}):\n    store_{dtype}_0(p0, i, exp_{dtype}(load_{dtype}_1(p1, i)))\n"
    (loop,) = (node for node in ast.walk(specialised(text, machine_for(target))) if isinstance(node, ast.For))
    assert ast.unparse(loop.iter) == expected
