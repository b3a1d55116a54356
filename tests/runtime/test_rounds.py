"""The rounds of messages by which ranks gather the bytes of all, and the time that a network takes for them."""

import numpy as np
import pytest

from netc.compiler.targets.target import Part
from netc.runtime.distributed.network import Network
from netc.runtime.distributed.rounds import bytes_of, rounds


@pytest.mark.parametrize("count", [2, 4, 16, 32, 64, 256, 512])
def test_all_bytes_arrive_and_none_twice(count: int) -> None:
    ends = np.cumsum(np.arange(count + 1) % 3)
    part = Part(0, [int(end) for end in ends])
    memories = [np.zeros(ends[-1], np.int64) for _ in range(count)]
    for rank, memory in enumerate(memories):
        memory[ends[rank] : ends[rank + 1]] += rank + 1
    for steps in zip(*(list(rounds(rank, count)) for rank in range(count)), strict=True):
        before = [memory.copy() for memory in memories]
        for rank, (_, partners) in enumerate(steps):
            for partner, theirs in partners:
                own_of_partner, partners_of_partner = steps[partner]
                assert own_of_partner == theirs, "a partner sends what is received from it"
                assert (rank, steps[rank][0]) in partners_of_partner
                low, high = bytes_of(part, theirs)
                memories[rank][low:high] += before[partner][low:high]
    expected = np.repeat(np.arange(count) + 1, np.diff(ends))
    assert all(np.array_equal(memory, expected) for memory in memories)


def test_a_rank_has_few_partners() -> None:
    assert [len(partners) for _, partners in rounds(5, 16)] == [15]
    assert [len(partners) for _, partners in rounds(77, 256)] == [15, 15]


def test_a_message_takes_what_was_measured() -> None:
    network = Network(((64, 2e-6), (1000, 10e-6), (2000, 12e-6)), 1e-6)
    assert network.seconds(64, 1) == 2e-6
    assert network.seconds(1500, 1) == pytest.approx(11e-6)
    assert network.seconds(4000, 3) == pytest.approx(12e-6 + 4e-6 + 2e-6)
    assert (network.latency, network.bandwidth) == (2e-6, pytest.approx(5e8))
    assert Network.of(3e-6, 1e9, 0.0).seconds(5_000_000, 1) == pytest.approx(3e-6 + 5e-3)
