"""Whether ranks share the steps of a program out: calls try both ways, and rank 0's times decide."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from netc.compiler.targets import sharing
from netc.compiler.targets.sharing import Sharing
from netc.compiler.targets.target import Call, Divided


@dataclass(slots=True)
class Ranks:
    """This process as one of two ranks, of which rank 0 has decided `decision`."""

    rank: int = 0
    decision: int = 0
    must_share: bool = False
    asked: int = 0

    def largest(self, numbers: Sequence[int]) -> list[int]:
        self.asked += 1
        return [max(numbers[0], self.decision)]


class Clock:
    """A clock that the test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def calls(ranks: Ranks, seconds: dict[bool, list[float]], monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Which of ten calls are shared out, if they take so long. The last time of a kind is also that of later calls."""
    clock, own, shared = Clock(), Sharing(), []
    monkeypatch.setattr(sharing, "perf_counter", clock)
    call = Call({}, {}, np.arange(4), 2, 2, {})
    for _ in range(10):
        is_shared = own.is_next_shared(ranks)  # type: ignore[arg-type]
        with own.timed(call, ranks, is_shared):  # type: ignore[arg-type]
            times = seconds[is_shared]
            clock.now += times.pop(0) if len(times) > 1 else times[0]
        shared.append(is_shared)
    return shared


def test_the_clearly_faster_way_is_chosen_after_two_calls_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks()
    assert calls(ranks, {True: [9.0, 1.0], False: [9.0, 2.0]}, monkeypatch) == [True, False, True, False] + [True] * 6
    assert calls(ranks, {True: [9.0, 2.0], False: [9.0, 1.0]}, monkeypatch) == [True, False, True, False] + [False] * 6
    assert ranks.asked == 2


def test_a_small_difference_needs_four_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks()
    assert calls(ranks, {True: [1.1], False: [1.0]}, monkeypatch) == [True, False] * 4 + [False] * 2
    assert ranks.asked == 2


def test_rank_0_decides_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = calls(Ranks(rank=1, decision=2), {True: [5.0], False: [1.0]}, monkeypatch)
    assert shared == [True, False, True, False] + [True] * 6


def test_ranks_that_must_share_try_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(must_share=True)
    assert calls(ranks, {True: [5.0], False: [1.0]}, monkeypatch) == [True] * 10
    assert ranks.asked == 0


def test_what_a_program_leaves_divided_is_gathered_before_another_one_runs() -> None:
    divided, gathered, first, other = Divided(), list[str](), object(), object()
    divided.gather()
    divided.leave(first, lambda: gathered.append("rest"))
    divided.gather(unless=first)
    assert gathered == []
    divided.gather(unless=other)
    divided.gather()
    assert gathered == ["rest"]
