"""The text of custom kernels is written without LLVM, whose import a warm start does not wait for."""

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import math
import sys

from netc.compiler.program.kernels import ArrayArgument, CustomKernel
from netc.compiler.targets.cpu.text.custom import write_custom


def grow(out, x):
    for i in range(len(x)):
        out[i] = math.exp(x[i])


def stay(out, x):
    out[0] = math.gamma(x[0])


arrays = tuple(ArrayArgument(i, i, "f32", (4,), (1,), 4) for i in range(2))
print(write_custom(CustomKernel("grow", grow, arrays, (), True)))
try:
    write_custom(CustomKernel("stay", stay, arrays, (), True))
except ValueError as error:
    print(error)
print("llvmlite" in sys.modules)
"""


def test_a_custom_kernel_that_calls_a_function_is_written_without_llvm(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_PROGRAM, encoding="utf-8")
    result = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "exp_f32(F32(load_f32_1(p1, " in result.stdout
    assert result.stdout.endswith("a kernel does not know `math.gamma`\nFalse\n")
