"""Hints to LLVM about a loop, as metadata of the branch that goes back to its head.

LLVM unrolls a short loop of known length before it vectorises, and finds no vectors afterwards. Knows no text.
"""

from typing import Any

from llvmlite import ir

_ROLLED = "llvm.loop.unroll.disable"
_NO_VECTORS = "llvm.loop.vectorize.enable"
_VECTORS = ("llvm.loop.vectorize.followup_vectorized", "llvm.loop.vectorize.followup_epilogue")


def keep_for_vectors(module: Any, back: Any) -> None:
    """Marks a loop, by the branch back to its head, so that LLVM does not unroll it before it has vectors.

    The loops that it becomes, over vectors and over the rest, may be unrolled.
    """

    done = _node(module, "llvm.loop.isvectorized", ir.Constant(ir.IntType(32), 1))
    _hint(module, back, [_node(module, _ROLLED), *(_node(module, name, done) for name in _VECTORS)])


def keep_rolled(module: Any, back: Any) -> None:
    """Marks a loop, by the branch back to its head, so that LLVM does not unroll it, with the loops that are inside."""
    _hint(module, back, [_node(module, _ROLLED)])


def keep_single(module: Any, back: Any) -> None:
    """Marks a loop, by the branch back to its head, so that LLVM computes one iteration after another."""
    _hint(module, back, [_node(module, _ROLLED), _node(module, _NO_VECTORS, ir.Constant(ir.IntType(1), 0))])


def _hint(module: Any, back: Any, hints: list[Any]) -> None:
    number = len(module.metadata)
    identity = _node(module, f"netc.loop.{number}", *hints)
    identity.operands = (identity, *hints)  # LLVM tells loops apart by a node that names itself
    back.set_metadata("llvm.loop", identity)


def _node(module: Any, *operands: Any) -> Any:
    return module.add_metadata(
        [ir.MetaDataString(module, part) if isinstance(part, str) else part for part in operands]
    )
