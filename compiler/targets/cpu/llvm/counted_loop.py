"""A counted loop in LLVM's instructions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netc.compiler.targets.cpu.llvm.loop_hints import hint


@contextmanager
def counted_loop(
    builder: Any,
    start: Any,
    stop: Any,
    step: Any,
    name: str = "loop",
    flags: Sequence[str] = (),
    kind: str = "range",
) -> Iterator[Any]:
    """Writes `for index in range(start, stop, step)` around what the body of the `with` statement emits.

    Yields the index, an integer of the type of `start`; `step` is positive. `flags` are those of the addition of the
    step, such as "nsw" for one that does not overflow. `kind` is that of llvm/loop_hints.py.
    """
    before, head, body, end = (
        builder.block,
        *(builder.append_basic_block(f"{name}.{part}") for part in ("head", "body", "end")),
    )
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(start.type)
    index.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", index, stop), body, end)
    builder.position_at_end(body)
    yield index
    index.add_incoming(builder.add(index, step, flags=flags), builder.block)
    back = builder.branch(head)
    hint(builder.module, back, kind)
    builder.position_at_end(end)
