"""Decides whether the calls of a program are shared out, among ranks or among the workers of a process, or whether one
does all: by trying both.

Both compute the same bits, so no step is wasted. A step that is too small for messages or barriers is found in this way
for any network, processor and number of ranks and workers.
"""

from msgspec import Struct, field

from netc.compiler.targets.target import Call, Ranks

_TRIED = 2  # calls of each kind that a decision takes
# Steps that are shared in a row first: threads that were idle sleep, or have no core of their own until the system
# finds one for them. A call counts as so many at most.
_WARM_UP, _MOST_OF_A_CALL = 16, 8
# Decided calls after which both are tried again, because other programs may have disturbed the trial. They double each
# time, so that a wrong decision lasts no longer than everything before it.
_AGAIN, _MOST = 32, 4096
_UNDECIDED, _ALONE, _SHARED = range(3)


class _Trial(Struct):
    """The seconds of calls of similar sizes, for a sample or a row: of shared ones, and then of the others."""

    shared: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    steps: int = 0  # that were shared

    @property
    def is_next_shared(self) -> bool:
        return self.steps < _WARM_UP or len(self.shared) < _TRIED


class Sharing:
    """The calls that have tried both ways, and then the decision. Only calls of similar sizes are compared.

    Everything but the seconds is the same on all ranks, so they make the same calls.
    """

    def __init__(self) -> None:
        self._trials: dict[int, _Trial] = {}  # by size
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
        trial = self._trials.get(_rows(call).bit_length())
        return trial is None or trial.is_next_shared

    def took(self, call: Call, is_shared: bool, seconds: float, ranks: Ranks | None = None) -> None:
        """Takes the seconds of a call into account. Ranks that are given make the same calls, and rank 0 decides."""
        if self._decision:
            self._calls += 1
            if self._calls >= self._again:
                self._trials, self._decision, self._calls = {}, _UNDECIDED, 0
                self._again = min(2 * self._again, _MOST)
            return
        rows = _rows(call)
        trial = self._trials.setdefault(rows.bit_length(), _Trial())
        if is_shared:
            trial.shared.append(seconds / rows)
            trial.steps += min(call.steps, _MOST_OF_A_CALL)
        else:
            trial.alone.append(seconds / rows)
        if len(trial.alone) == _TRIED:
            decision = _SHARED if min(trial.shared, default=seconds) <= min(trial.alone) else _ALONE
            if ranks is not None:
                (decision,) = ranks.largest([decision if ranks.rank == 0 else _UNDECIDED])
            self._decision = decision


def _rows(call: Call) -> int:
    """The samples of a call, or the rows of its varying dimensions."""
    return max(sum(rows.count for rows in call.rows.values()) or call.steps * call.batch, 1)
