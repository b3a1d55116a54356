"""Whether ranks or workers share the steps of a program out: calls try both ways, and their times decide."""

from collections.abc import Sequence

import numpy as np
import pytest
from msgspec import Struct

from netc.compiler.program.gathers import Division, Gather
from netc.compiler.targets import sharing
from netc.compiler.targets.sharing import Sharing
from netc.compiler.targets.target import Call, Divided
from netc.dsl.structs import replace


class Ranks(Struct):
    """This process as one of two ranks, of which rank 0 has decided `decision`."""

    rank: int = 0
    decision: int = 0
    must_share: bool = False
    asked: int = 0

    def largest(self, numbers: Sequence[int]) -> list[int]:
        self.asked += 1
        return [max(numbers[0], self.decision)]


def call_of(samples: int) -> Call:
    """A call of so many samples in all, in ten steps, or of a single one."""
    steps = 10 if samples > 1 else 1
    return Call({}, {}, np.arange(samples), steps, samples // steps, {})


def calls(ranks: Ranks | None, seconds: dict[bool, list[float]], count: int, samples: int = 20) -> list[bool]:
    """The calls that are shared out, if they take so long. The last time of a kind is also that of later calls."""
    sharing, shared, call = Sharing(), list[bool](), call_of(samples)
    for _ in range(count):
        shared.append(sharing.is_next_shared(call))
        times = seconds[shared[-1]]
        took = times.pop(0) if len(times) > 1 else times[0]
        sharing.took(call, shared[-1], took, ranks)  # type: ignore[arg-type]
    return shared


TRIAL = [True, True, False, False]  # of calls of ten steps


@pytest.mark.parametrize("ranks", [Ranks(), None])
def test_the_faster_way_is_chosen_after_two_calls_of_each(ranks: Ranks | None) -> None:
    assert calls(ranks, {True: [9.0, 1.0], False: [9.0, 2.0]}, 10) == TRIAL + [True] * 6
    assert calls(ranks, {True: [9.0, 2.0], False: [9.0, 1.0]}, 10) == TRIAL + [False] * 6
    assert ranks is None or ranks.asked == 2


def test_calls_of_one_step_are_shared_until_all_threads_are_awake() -> None:
    seconds = {True: [5.0] * 12 + [1.0], False: [2.0]}
    assert calls(None, seconds, 30, samples=1) == [True] * 16 + [False] * 2 + [True] * 12


def test_rank_0_decides_for_all() -> None:
    assert calls(Ranks(rank=1, decision=2), {True: [5.0], False: [1.0]}, 10) == TRIAL + [True] * 6


def test_both_ways_are_tried_again_after_many_calls() -> None:
    """After twice as many each time: both other programs and the program itself may change."""
    again = sharing._AGAIN
    seconds = {True: [5.0] * 2 + [1.0] * (2 + 2 * again) + [3.0], False: [2.0]}
    shared = calls(None, seconds, 4 + again + 4 + 2 * again + 6)
    assert shared == [*TRIAL, *[False] * again, *TRIAL, *[True] * 2 * again, *TRIAL, False, False]


def test_only_calls_of_similar_sizes_are_compared() -> None:
    """A call of one sample takes longer for a sample than a call of many."""
    sharing = Sharing()
    for samples in (20, 80, 640, 5120):  # all are shared out, as a call of this size alone says nothing
        assert sharing.is_next_shared(call_of(samples))
        sharing.took(call_of(samples), True, 1.0)
    for is_shared in (True, False, False):
        assert sharing.is_next_shared(call_of(6000)) == is_shared
        sharing.took(call_of(6000), is_shared, 1.0 if is_shared else 3.0)
    assert sharing.is_decided
    assert sharing.is_next_shared(call_of(20))


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
