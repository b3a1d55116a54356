"""The text of a kernel for one machine: branches that depend on lanes alone are decided, others stay."""

import ast

import pytest

from netc.compiler.targets.cpu.specialise_text import specialised
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
