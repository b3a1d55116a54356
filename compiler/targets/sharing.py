"""Decides whether ranks share the steps of a program out, or whether each of them does all: by trying both.

Both compute the same bits, so no step is wasted. A step that is too small for its messages is found in this way for any
network, processor and number of ranks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from netc.compiler.targets.target import Call, Ranks

_ENOUGH = {2: 1.3, 4: 1.0}  # calls of each kind, and by how much the best of one kind must then beat that of the other
_UNDECIDED, _ALONE, _SHARED = range(3)


class Sharing:
    """The calls that have tried both ways, and then the decision, which is the same on all ranks: rank 0 measures."""

    def __init__(self) -> None:
        self._seconds: dict[bool, list[float]] = {True: [], False: []}
        self._decision = _UNDECIDED

    def is_next_shared(self, ranks: Ranks) -> bool:
        """Whether the next call is to be shared out."""
        if ranks.must_share or self._decision:
            return ranks.must_share or self._decision == _SHARED
        return len(self._seconds[True]) <= len(self._seconds[False])

    @contextmanager
    def timed(self, call: Call, ranks: Ranks, is_shared: bool) -> Iterator[None]:
        """Times a call, for as long as nothing is decided. All ranks make the same calls."""
        begin = perf_counter()
        yield
        if ranks.must_share or self._decision:
            return
        rows = sum(rows.count for rows in call.rows.values()) or call.steps * call.batch
        self._seconds[is_shared].append((perf_counter() - begin) / max(rows, 1))
        counts = {len(seconds) for seconds in self._seconds.values()}
        if len(counts) == 1 and (count := counts.pop()) in _ENOUGH:
            shared, alone = (min(self._seconds[kind]) for kind in (True, False))
            best = _SHARED if shared < alone else _ALONE
            is_clear = max(shared, alone) >= _ENOUGH[count] * min(shared, alone)
            (self._decision,) = ranks.largest([best if is_clear and ranks.rank == 0 else _UNDECIDED])
