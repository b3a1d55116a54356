"""Decides whether the calls of a program are shared out, among ranks or among the workers of a process, or whether one
does all: by trying both.

Both compute the same bits, so no step is wasted. A step that is too small for messages or barriers is found in this way
for any network, processor and number of ranks and workers.
"""

from netc.compiler.targets.target import Call, Ranks

_FEW, _MANY = 2, 4  # calls of each kind after which a clear difference decides, and after which any does
_CLEAR = 1.3  # times that the best call of one kind takes, if the other kind is clearly faster
# Decided calls after which both are tried again, because other programs may have disturbed the trial. They double each
# time, so that a wrong decision lasts no longer than everything before it.
_AGAIN, _MOST = 32, 4096
_UNDECIDED, _ALONE, _SHARED = range(3)


class Sharing:
    """The calls that have tried both ways, and then the decision. Only calls of similar sizes are compared."""

    def __init__(self) -> None:
        self._seconds: dict[int, dict[bool, list[float]]] = {}  # by size and kind, for a sample or a row
        self._decision = _UNDECIDED
        self._calls = 0  # since the decision
        self._again = _AGAIN

    @property
    def is_decided(self) -> bool:
        """Whether all calls are of one kind at present."""
        return self._decision != _UNDECIDED

    def is_next_shared(self, call: Call) -> bool:
        """Whether the next call is to be shared out."""
        if self._decision:
            return self._decision == _SHARED
        seconds = self._seconds.get(_rows(call).bit_length())
        return seconds is None or len(seconds[True]) <= len(seconds[False])

    def took(self, call: Call, is_shared: bool, seconds: float, ranks: Ranks | None = None) -> None:
        """Takes the seconds of a call into account. Ranks that are given make the same calls, and rank 0 decides."""
        if self._decision:
            self._calls += 1
            if self._calls >= self._again:
                self._seconds, self._decision, self._calls = {}, _UNDECIDED, 0
                self._again = min(2 * self._again, _MOST)
            return
        rows = _rows(call)
        trial = self._seconds.setdefault(rows.bit_length(), {True: [], False: []})
        trial[is_shared].append(seconds / rows)
        if len(trial[True]) == len(trial[False]) and ((count := len(trial[True])) == _FEW or count >= _MANY):
            shared, alone = (min(trial[kind]) for kind in (True, False))
            is_clear = max(shared, alone) >= (_CLEAR if count == _FEW else 1.0) * min(shared, alone)
            decision = (_SHARED if shared < alone else _ALONE) if is_clear else _UNDECIDED
            if ranks is not None:
                (decision,) = ranks.largest([decision if ranks.rank == 0 else _UNDECIDED])
            self._decision = decision


def _rows(call: Call) -> int:
    """The samples of a call, or the rows of its varying dimensions."""
    return max(sum(rows.count for rows in call.rows.values()) or call.steps * call.batch, 1)
