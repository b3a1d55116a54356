"""Whether ranks or workers share the steps of a program out: calls try both ways, and their times decide."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from netc.compiler.program.gathers import Division, Gather
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


def call_of(samples: int) -> Call:
    """A call of two steps of so many samples in all."""
    return Call({}, {}, np.arange(samples), 2, samples // 2, {})


def calls(ranks: Ranks | None, seconds: dict[bool, list[float]], count: int = 10) -> list[bool]:
    """Which of the calls are shared out, if they take so long. The last time of a kind is also that of later calls."""
    sharing, shared, call = Sharing(), list[bool](), call_of(4)
    for _ in range(count):
        shared.append(sharing.is_next_shared(call))
        times = seconds[shared[-1]]
        took = times.pop(0) if len(times) > 1 else times[0]
        sharing.took(call, shared[-1], took, ranks)  # type: ignore[arg-type]
    return shared


@pytest.mark.parametrize("ranks", [Ranks(), None])
def test_the_clearly_faster_way_is_chosen_after_two_calls_of_each(ranks: Ranks | None) -> None:
    assert calls(ranks, {True: [9.0, 1.0], False: [9.0, 2.0]}) == [True, False, True, False] + [True] * 6
    assert calls(ranks, {True: [9.0, 2.0], False: [9.0, 1.0]}) == [True, False, True, False] + [False] * 6
    assert ranks is None or ranks.asked == 2


def test_a_small_difference_needs_four_calls() -> None:
    ranks = Ranks()
    assert calls(ranks, {True: [1.1], False: [1.0]}) == [True, False] * 4 + [False] * 2
    assert ranks.asked == 2


def test_rank_0_decides_for_all() -> None:
    shared = calls(Ranks(rank=1, decision=2), {True: [5.0], False: [1.0]})
    assert shared == [True, False, True, False] + [True] * 6


def test_both_ways_are_tried_again_after_many_calls() -> None:
    """After twice as many each time: both other programs and the program itself may change."""
    seconds = {True: [5.0] * 2 + [1.0] * 34 + [3.0], False: [2.0]}
    shared = calls(None, seconds, 4 + sharing._AGAIN + 4 + 2 * sharing._AGAIN + 6)
    trial, first, second = [True, False, True, False], [False] * sharing._AGAIN, [True] * 2 * sharing._AGAIN
    assert shared == [*trial, *first, *trial, *second, *trial, False, False]


def test_only_calls_of_similar_sizes_are_compared() -> None:
    """A call of one sample takes longer for a sample than a call of many."""
    sharing = Sharing()
    for samples in (2, 8, 64, 512):  # all are shared out, as a call of this size alone says nothing
        assert sharing.is_next_shared(call_of(samples))
        sharing.took(call_of(samples), True, 1.0)
    for is_shared in (False, True, False):
        assert sharing.is_next_shared(call_of(600)) == is_shared
        sharing.took(call_of(600), is_shared, 1.0 if is_shared else 3.0)
    assert sharing.is_decided
    assert sharing.is_next_shared(call_of(2))


def test_what_a_program_leaves_divided_is_gathered_before_it_is_read_otherwise() -> None:
    divided, gathered = Divided(), list[list[int]]()

    def gather(gathers: Sequence[Gather]) -> None:
        gathered.append([gather.offset for gather in gathers])

    first, second, third = (Gather(0, offset, 8, Division("pieces", extent=8)) for offset in (0, 64, 128))
    divided.gather()
    divided.leave([first, second, third], gather)
    divided.gather([first], [(0, 64), (192, 256)])  # it divides the first in the same way, and does not read the others
    assert gathered == []
    divided.gather([first], [(0, 64), (127, 130)])
    assert gathered == [[64, 128]]
    divided.gather([replace(first, division=Division("pieces", extent=8, grain=4))], [(0, 64)])
    assert gathered == [[64, 128], [0]]
    divided.leave([second], gather)
    divided.leave([third], lambda gathers: gathered.append([]))
    divided.gather()
    divided.gather()
    assert gathered == [[64, 128], [0], [64], []]
