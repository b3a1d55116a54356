"""Keeps the order of instructions in loops that compute several vectors at a time.

LLVM's vectoriser writes each instruction for all vectors of an iteration before the next one, so that the CPU never
waits for one of them. Its scheduler of machine instructions undoes this where registers are few: to save some, it
computes one vector after another. `llvm.fake.use` is not an instruction of the CPU, and the scheduler moves nothing
across it.
"""

import re
from collections.abc import Sequence

# Multiply-adds from one boundary to the next. On Zen 4 with AVX2, pow and atan2 in f64 take two thirds of the time with
# boundaries 8 to 32 apart, log three quarters up to 24 apart.
_APART = 16
_BLOCK = re.compile(r'^"?([-\w.]+)"?:')
_MULTIPLY_ADD = re.compile(r"  (%\S+) = (?:tail )?call (<\d+ x (float|double)>) @llvm\.fma\..*")
_FLOATS = re.compile(r"<\d+ x (float|double)>")


def kept_in_order(text: str) -> str:
    """Returns an optimised kernel's text with boundaries in its loops over vectors.

    Loops with floats of two widths have none: pow in f32, which computes in f64, was measured to take 1.06 times as
    long with them.
    """
    lines, block, is_loop = list[str](), list[str](), False
    for line in [*text.splitlines(), ""]:
        if not line or _BLOCK.match(line):
            lines += _with_boundaries(block) if is_loop else block
            block, is_loop = [], line.startswith("vector.body")
        block.append(line)
    return "\n".join([*lines, "declare void @llvm.fake.use(...)"]) + "\n"


def _with_boundaries(block: Sequence[str]) -> list[str]:
    """A block of a loop with its boundaries."""
    if len({match[1] for line in block for match in _FLOATS.finditer(line)}) > 1:
        return list(block)
    lines, count = list[str](), 0
    for line in block:
        lines.append(line)
        if match := _MULTIPLY_ADD.fullmatch(line):
            count += 1
            if count % _APART == 0:
                lines.append(f"  call void (...) @llvm.fake.use({match[2]} {match[1]})")
    return lines
