"""`netc check --ranks` counts the messages that the steps of several ranks really send."""

import numpy as np
import pytest
from ranks import ThreadExchange, ThreadRank, on_ranks

import netc
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.distributed.network import Network
from netc.runtime.distributed.prediction import predictions
from netc.runtime.program import Program

MODEL = """model {
  input x: float[400]
  target y: class(3)
  z = x -> dense(600) -> tanh -> dense(3)
  loss cross_entropy(z, y)
}
train { optimizer = adam(lr = 0.01)
  batch = 8
  accumulate = ACCUMULATE }
"""
SEQUENCES = """model {
  input x: float[time, 4]
  target y: class(3)
  z = x -> lstm(8) -> last -> dense(3)
  loss cross_entropy(z, y)
}
train { optimizer = sgd(lr = 0.1)
  batch = 16 }
"""


def sent(model: netc.Model, updates: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """The messages, and the bytes that the last of two ranks receives, in so many updates of the parameters."""
    counts, nbytes = [0], [0]
    start = ThreadExchange._start

    def counted(self: ThreadExchange, *arguments: int) -> int:
        if self._ranks.rank == 1:
            received = sum(part.ends[1] - part.ends[0] for part in self._parts)
            counts[0], nbytes[0] = counts[0] + (received > 0), nbytes[0] + received
        return start(self, *arguments)

    def work(rank: ThreadRank) -> None:
        program = Program(model, threads=1, ranks=rank)
        size = model.train.samples_per_step
        fields = program.compiled.fields.ready(synthetic_data(model, size))
        program.steps(fields, np.tile(np.arange(size), updates), 0)

    with monkeypatch.context() as patch:
        patch.setattr(ThreadExchange, "_start", counted)
        on_ranks(2, work)
    return counts[0], nbytes[0]


@pytest.mark.parametrize(
    "text", [MODEL.replace("ACCUMULATE", "1"), MODEL.replace("ACCUMULATE", "5"), SEQUENCES], ids=["1", "5", "sequences"]
)
def test_messages_are_counted_as_often_as_ranks_send_them(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `accumulate`, each batch sends some, and an update others; at the end of a chunk of updates come others."""
    model = netc.parse(text)
    single, triple = sent(model, 1, monkeypatch), sent(model, 3, monkeypatch)
    for_each, nbytes = ((triple[i] - single[i]) / 2 for i in range(2))
    at_end, rest = (single[0] - for_each, single[1] - nbytes)
    (prediction,) = predictions(model, Network.of(1.0, 1e18, 0.0), [2])
    share = (prediction.nbytes - nbytes) / max(rest, 1)  # 1 / the updates of a chunk
    assert 0 <= share <= 1
    assert prediction.gathering == pytest.approx(for_each + at_end * share, abs=0.01)
