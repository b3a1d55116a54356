"""Hints to LLVM about a loop, as metadata of the branch that goes back to its head.

LLVM unrolls a short loop of known length before it vectorises, and finds no vectors afterwards. Knows no text.
"""

from typing import Any

from llvmlite import ir

_VECTORS = ("llvm.loop.vectorize.followup_vectorized", "llvm.loop.vectorize.followup_epilogue")


def keep_for_vectors(module: Any, back: Any) -> None:
    """Marks a loop, by the branch back to its head, so that LLVM does not unroll it before it has vectors.

    The loops that it becomes, over vectors and over the rest, may be unrolled.
    """

    def node(*operands: Any) -> Any:
        return module.add_metadata([_string(module, part) if isinstance(part, str) else part for part in operands])

    done = node("llvm.loop.isvectorized", ir.Constant(ir.IntType(32), 1))
    hints = [node("llvm.loop.unroll.disable"), *(node(name, done) for name in _VECTORS)]
    number = len(module.metadata)
    identity = node(f"netc.loop.{number}", *hints)
    identity.operands = (identity, *hints)  # LLVM tells loops apart by a node that names itself
    back.set_metadata("llvm.loop", identity)


def _string(module: Any, text: str) -> Any:
    return ir.MetaDataString(module, text)
