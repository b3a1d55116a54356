"""Hints to LLVM about a loop, as metadata of the branch that goes back to its head.

LLVM unrolls a short loop of known length before it vectorises, and finds no vectors afterwards. Knows no text.
"""

from typing import Any

from llvmlite import ir

_ROLLED = "llvm.loop.unroll.disable"
_NO_VECTORS = "llvm.loop.vectorize.enable"
_VECTORS = ("llvm.loop.vectorize.followup_vectorized", "llvm.loop.vectorize.followup_epilogue")
_INTERLEAVED = "llvm.loop.interleave.count"


def hint(module: Any, back: Any, kind: str, interleaved: int = 1) -> None:
    """Marks a loop by the branch back to its head.

    LLVM unrolls no loop of the kind "rolled", with the loops that are inside, nor one of the kind "row" before it has
    vectors; the loops that this becomes, over vectors and over the rest, may be unrolled. An iteration of the loop over
    vectors shall compute `interleaved` of them, instruction by instruction. Of a loop of the kind "single", LLVM
    computes one iteration after another.
    """
    hints = []
    if kind in ("row", "rolled", "single"):
        hints.append(_node(module, _ROLLED))
    if kind == "single":
        hints.append(_node(module, _NO_VECTORS, ir.Constant(ir.IntType(1), 0)))
    if kind == "row":
        done = _node(module, "llvm.loop.isvectorized", ir.Constant(ir.IntType(32), 1))
        hints += [_node(module, name, done) for name in _VECTORS]
    if interleaved > 1:
        hints.append(_node(module, _INTERLEAVED, ir.Constant(ir.IntType(32), interleaved)))
    if hints:
        number = len(module.metadata)
        identity = _node(module, f"netc.loop.{number}", *hints)
        identity.operands = (identity, *hints)  # LLVM tells loops apart by a node that names itself
        back.set_metadata("llvm.loop", identity)


def _node(module: Any, *operands: Any) -> Any:
    return module.add_metadata(
        [ir.MetaDataString(module, part) if isinstance(part, str) else part for part in operands]
    )
