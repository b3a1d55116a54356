"""Pieces that do not divide cost in `netc profile` the time that they cost in the schedule."""

from typing import Any

import numpy as np
import pytest

from netc.compiler.program.plan import Plan
from netc.compiler.program.schedule import Group, Schedule
from netc.runtime.insight.phases import expected_speed, phases_of

CALL: Any = None  # what it computes does not matter here
SAMPLES, STEPS, ALONE = Group("samples", (CALL,), 1), Group("steps", (CALL,), 1, dim="time"), Group("one", (CALL,), 1)
THREE, FOUR = Group("pieces", (CALL,), 1, extent=3), Group("pieces", (CALL,), 12, extent=43, grain=12)
SHARDS = Group("shards", (CALL,), 2, extent=16)
SIZES = {"batch": 12, "time": 100}


def plan_of(*phases: tuple[Group, ...]) -> Plan:
    tasks = (CALL,) * sum(len(group.calls) for phase in phases for group in phase)
    return Plan(SIZES, 0, 0, Schedule(phases, ()), {}, {}, tasks)


@pytest.mark.parametrize(
    ("groups", "threads", "speed"),
    [
        ((THREE,), 2, 3 / 2),
        ((THREE,), 8, 3),
        ((FOUR,), 3, 2),
        ((FOUR,), 4, 4),
        ((SAMPLES,), 8, 6),
        ((STEPS,), 4, 4),
        ((SHARDS,), 16, 16),
        ((SHARDS,), 5, 4),
        ((ALONE,), 2, 1),
        ((ALONE, ALONE), 2, 2),
        ((ALONE, THREE, ALONE, ALONE), 2, 4 / (2 + 1 / 3)),  # the first and the third are done by the first thread
        ((THREE, FOUR), 2, 2 / (2 / 3 + 1 / 2)),
        ((THREE, FOUR), 1, 1),
    ],
)
def test_a_phase_takes_as_long_as_its_largest_share(groups: tuple[Group, ...], threads: int, speed: float) -> None:
    assert expected_speed(plan_of(groups), [1.0] * len(groups), SIZES, threads) == pytest.approx(speed)


def test_phases_add_up() -> None:
    plan = plan_of((SAMPLES, THREE), (SHARDS,))
    assert expected_speed(plan, [1.0, 3.0, 4.0], SIZES, 2) == pytest.approx(8 / (0.5 + 2 + 2))
    seconds = np.array([[1.0, 2.0, 4.0], [1.0, 1.0, 3.0]])
    first, second = phases_of(plan, seconds, SIZES)
    assert (first.pieces, first.seconds, first.waiting) == ((12, 3), (3.0, 2.0), 0.5)
    assert (second.pieces, second.seconds, second.waiting) == ((16,), (4.0, 3.0), 0.5)
