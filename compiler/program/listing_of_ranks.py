"""The printed form of what ranks share out in a step: the rows of each rank, and what each message brings it."""

from collections.abc import Iterator

from netc.compiler.ir.types import BATCH, size_of
from netc.compiler.program.gathers import Division, Gather, StepSizes, spans_of
from netc.compiler.program.plan import Plan
from netc.dsl.plural import counted

_OF_ANY_BATCH = ("batch", "shards", "pieces")  # the divisions whose rows do not depend on the lengths of sequences


def lines_of_shares(plan: Plan, ranks: int) -> Iterator[str]:
    """Yields how the batch and its shards are shared out among so many ranks, and the bytes that the last rank, which
    has the most rows, receives with each message."""
    gathers, sizes = plan.schedule.gathers, StepSizes(size_of(BATCH, plan.sizes), {})
    assert gathers is not None, "a plan for one process"
    groups = [group for phase in plan.schedule.phases for group in phase]
    shared = sum(not group.is_repeated for group in groups)
    yield f"{ranks} ranks share {shared} of {len(groups)} groups out, and every rank does the others"
    divisions = {"samples": Division("batch")}
    for group in groups:
        if group.kind == "shards":
            divisions["shards"] = Division("shards", extent=group.extent)
    for rank in range(ranks):
        spans = {name: spans_of(division, rank, ranks, sizes)[0] for name, division in divisions.items()}
        yield f"  rank {rank}: {', '.join(f'{name} {low} to {high}' for name, (low, high) in spans.items())}"
    for message in gathers.messages:
        yield f"  after phase {message.after}, rank {ranks - 1} receives {_received(message.gathers, ranks, sizes)}"
    if gathers.at_end:
        yield f"  after the last step, rank {ranks - 1} receives {_received(gathers.at_end, ranks, sizes)}"


def _received(gathers: tuple[Gather, ...], ranks: int, sizes: StepSizes) -> str:
    """The bytes of a message, as far as they do not depend on the lengths of sequences."""
    fixed = [gather for gather in gathers if gather.division.kind in _OF_ANY_BATCH]
    spans = [
        (gather.row_bytes, span)
        for gather in fixed
        for rank in range(ranks - 1)
        for span in spans_of(gather.division, rank, ranks, sizes)
    ]
    nbytes = sum((high - low) * row_bytes for row_bytes, (low, high) in spans)
    others = len(gathers) - len(fixed)
    return f"{nbytes:,} bytes" + (f", and the rows of {counted(others, 'sequence')}" if others else "")
