"""Plans for several ranks: what they gather, emulated with a memory for each rank, and compiled in several threads."""

import ctypes
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache

import numpy as np
import pytest
from ranks import ThreadExchange, ThreadRank, on_ranks
from support import ROOT

import netc
from netc.compiler.backends import emulated_ranks
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.rows import Rows
from netc.compiler.model import Model
from netc.compiler.planning.plan import plan
from netc.compiler.planning.ranks import among_ranks
from netc.compiler.program.gathers import Division, StepSizes, spans_of
from netc.compiler.program.listing import plan_lines
from netc.compiler.program.listing_of_ranks import lines_of_shares
from netc.compiler.program.plan import Plan
from netc.compiler.program.tasks import Tasks
from netc.compiler.targets import sharing
from netc.compiler.targets.emulator import ranks as emulated
from netc.compiler.targets.emulator.memory import BrokenPlan
from netc.compiler.targets.named import machine_for
from netc.compiler.targets.target import Part, Team
from netc.dsl.diagnostics import Fault
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.dsl.structs import replace
from netc.runtime.data.classes import class_counter
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.execution import loaded
from netc.runtime.execution.fields import Fields
from netc.runtime.program import Program
from netc.runtime.verification import verify
from netc.runtime.verification.backends import with_small_limits
from netc.runtime.verification.subject import Subject

MLP = """model {
  input x: float[30]
  target y: class(7)
  h = x -> dense(50) -> tanh
  z = h -> dense(7)
  output p = softmax(z)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}
train { optimizer = adam(lr = 0.01)
  batch = 24 }
"""
LARGE = """model {
  input x: float[400]
  target y: class(7)
  h = x -> dense(600) -> tanh
  z = h -> dense(7)
  loss cross_entropy(z, y)
}
train { optimizer = adam(lr = 0.01)
  batch = 8
  accumulate = 3 }
"""
CONVOLUTION = """model {
  input x: float[12, 12, 2]
  target y: class(3)
  z = x -> conv(6, 3) -> batchnorm -> relu -> maxpool(2) -> flatten -> dropout(0.4) -> dense(3)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}
train { optimizer = sgd(lr = 0.1, momentum = 0.9)
  batch = 18
  accumulate = 2
  clip_norm = 1
  keep = average(0.9) }
"""
SEQUENCES = """model {
  input x: float[time, 3]
  target y: class(4)
  s = x -> bidirectional(lstm(8))
  z = concat(last(s), mean(s, over = time)) -> dense(4)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train { optimizer = adam(lr = 0.01)
  batch = 14
  clip_norm = 1 }
"""
TRUNCATED = """model {
  input x: float[time, 2]
  target y: float[time, 1]
  output p = x -> gru(5) -> dense(1)
  loss mse(p, y)
}
train { batch = 6
  truncate = (time = 3) }
"""
SEARCHED = """model {
  input x: float[5]
  target y: float[1]
  output p = x -> dense(9) -> tanh -> dense(1)
  loss mse(p, y)
}
train { optimizer = lbfgs(history = 4)
  batch = 40 }
"""
MODELS = {"mlp": MLP, "convolution": CONVOLUTION, "sequences": SEQUENCES, "truncated": TRUNCATED, "searched": SEARCHED}


@cache
def model_of(name: str) -> Model:
    return netc.parse(MODELS[name])


def planned(name: str) -> tuple[Tasks, Plan]:
    """The program and the plan of a training step, which nothing divides among ranks yet."""
    from netc.compiler import pipeline
    from netc.compiler.lowering.lower import lower
    from netc.runtime.execution.resources import state_layout

    machine, model = with_small_limits(machine_for()), model_of(name)
    graph = pipeline.training_graph(model, False)
    program = lower(pipeline.run_passes(graph), model.train.batch, machine)
    return program, plan(program, state_layout(model, graph)[1], model.train.batch, machine)


def fields_of(program: Program, count: int) -> Fields:
    return program.compiled.fields.ready(synthetic_data(program.model, count, seed=3, longest=9))


def trained(program: Program, count: int) -> tuple[object, ...]:
    """The result of two epochs over `count` samples, and of an evaluation."""
    program.workers.shares_small_steps = True
    fields = fields_of(program, count)
    losses = [program.steps(fields, np.arange(count), epoch).values for epoch in range(2)]
    kept = {name: array.tobytes() for name, array in program.persistent.items()}
    return (
        kept,
        [{name: value.tobytes() for name, value in each.items()} for each in losses],
        repr(program.evaluate(fields)),
    )


# ------------------------------------------------------------------ rows


def test_rows_of_ranks_are_those_of_their_shards() -> None:
    for batch in (1, 5, 16, 27, 64):
        sizes = StepSizes(batch, {})
        for ranks in (2, 4, 16):
            spans = [spans_of(Division("batch"), rank, ranks, sizes)[0] for rank in range(ranks)]
            shards = [spans_of(Division("shards", extent=16), rank, ranks, sizes)[0] for rank in range(ranks)]
            assert [(low * batch // 16, high * batch // 16) for low, high in shards] == spans


def test_every_row_belongs_to_one_rank() -> None:
    rows = {"time": Rows.of(np.array([3, 1, 7, 7, 2, 4, 1, 5]))}
    sizes = StepSizes(8, rows)
    counts = {"batch": 8, "rows": 30, "ranked": 8, "steps": 30, "shards": 16, "pieces": 41}
    for kind, count in counts.items():
        division = Division(kind, "time", 41 if kind == "pieces" else 16, 12)  # type: ignore[arg-type]
        for ranks in (2, 4, 8, 16):
            spans = [span for rank in range(ranks) for span in spans_of(division, rank, ranks, sizes)]
            assert sorted(row for span in spans for row in range(*span)) == [*range(count)]


def test_samples_of_a_scan_are_shared_out_by_their_steps() -> None:
    sizes = StepSizes(4, {"time": Rows.of(np.array([1, 9, 1, 1]))})
    assert [spans_of(Division("ranked", "time"), rank, 2, sizes) for rank in range(2)] == [[(0, 1)], [(1, 4)]]
    assert spans_of(Division("steps", "time"), 1, 2, sizes) == [(1, 4)]


# ------------------------------------------------------------------ plans


def test_what_ranks_gather_is_printed_with_the_plan() -> None:
    program, undivided = planned("mlp")
    divided = among_ranks(undivided, with_small_limits(machine_for()))
    text = "\n".join(plan_lines(program, divided))
    before = text.partition("\n\nranks gather")[0]
    assert "\n".join(plan_lines(program, undivided)) == before.replace(", on every rank", "")
    assert "one worker, on every rank" in text
    assert re.search(
        r"ranks gather from the end of phase 0 to phase \d\n(  .*\n)*  rows of the batch of 4 bytes at shared", text
    )
    assert re.search(r"of the next step\n(  .*\n)*  50 rows in multiples of \d+ of 28 bytes at persistent", text)
    assert re.search(r"after the last step\n  .* at persistent", text), "moments stay with those that need them"


@pytest.mark.every(2)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("ranks", [4, 16])
def test_emulated_ranks_compute_the_bits_of_one(name: str, ranks: int) -> None:
    model, machine = model_of(name), with_small_limits(machine_for())
    batch = min(model.train.batch, 6)
    count = batch * model.train.accumulate + 3
    alone = trained(Program(model, backend="plan", batch=batch, threads=1, machine=machine), count)
    together = trained(Program(model, backend=emulated_ranks(ranks, machine), batch=batch, threads=2), count)
    assert together == alone


@pytest.mark.parametrize("name", ["digits_conv", "gunpoint", "rings", "variational", "wine"])
def test_examples_have_the_same_bits_on_ranks(name: str) -> None:
    path = ROOT / "examples" / f"{name}.net"
    file = parse(Source(path.name, path.read_text(encoding="utf-8"), path))
    model = elaborate(file, {}, class_counter(file))
    subject = Subject(model, synthetic_data(model, 11, longest=7))
    assert verify(subject, ["ranks"]) == []


def test_a_file_may_have_shards_for_more_ranks() -> None:
    model, machine = netc.parse(MODELS["convolution"].replace("batch = 18", "batch = 18\n  shards = 32")), machine_for()
    machine = with_small_limits(machine)
    alone = trained(Program(model, backend="plan", threads=1, machine=machine), 40)
    assert trained(Program(model, backend=emulated_ranks(32, machine), threads=1), 40) == alone
    sixteen = Program(model_of("convolution"), backend="plan", threads=1, machine=machine)
    assert trained(sixteen, 40) != alone, "where sums are cut decides how they are rounded"


def test_more_ranks_than_shards_are_refused() -> None:
    model = netc.parse(MODELS["mlp"].replace("batch = 24", "batch = 24\n  shards = 2"))
    with pytest.raises(Fault, match="4 ranks cannot share the 2 shards of a batch"):
        on_ranks(4, lambda rank: Program(model, threads=1, ranks=rank))


def test_the_shares_of_ranks_are_printed() -> None:
    divided = among_ranks(planned("mlp")[1], with_small_limits(machine_for()))
    lines = list(lines_of_shares(divided, 4))
    assert re.fullmatch(r"4 ranks share \d+ of \d+ groups out, and every rank does the others", lines[0])
    assert lines[2] == "  rank 1: samples 6 to 12, shards 4 to 8"
    assert re.fullmatch(r"  after phase 0, rank 3 receives [\d,]+ bytes", lines[5])
    assert lines[-1].startswith("  after the last step, rank 3 receives ")


def test_a_forgotten_message_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, number = with_small_limits(machine_for()), 0

    def without_one(undivided: Plan, target: object) -> Plan:
        divided = among_ranks(undivided, machine)
        gathers = divided.schedule.gathers
        assert gathers is not None
        messages = [message for i, message in enumerate(gathers.messages) if i != number]
        kept = replace(gathers, messages=tuple(messages))
        return replace(divided, schedule=replace(divided.schedule, gathers=kept))

    gathers = among_ranks(planned("mlp")[1], machine).schedule.gathers
    assert gathers is not None
    monkeypatch.setattr(emulated, "among_ranks", without_one)
    for number in range(len(gathers.messages)):  # noqa: B007  without_one reads it
        program = Program(model_of("mlp"), backend=emulated_ranks(4, machine), threads=1)
        fields = fields_of(program, 48)
        with pytest.raises(BrokenPlan):
            program.steps(fields, np.arange(48), 0)


# ------------------------------------------------------------------ machine code


@pytest.mark.every(2)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("ranks", "threads"), [(2, 1), (4, 2)])
def test_compiled_ranks_compute_the_bits_of_one(name: str, ranks: int, threads: int) -> None:
    model = model_of(name)
    count = model.train.batch * model.train.accumulate * 2 - 5
    alone = trained(Program(model, threads=1), count)

    def work(rank: ThreadRank) -> object:
        return trained(Program(model, threads=threads, ranks=rank), count)

    assert on_ranks(ranks, work) == [alone] * ranks


@pytest.mark.parametrize("name", MODELS)
def test_calls_that_try_both_ways_compute_the_bits_of_one(name: str) -> None:
    model = model_of(name)
    count = model.train.batch * model.train.accumulate * 2 - 5
    alone = trained(Program(model, threads=1), count)

    def work(rank: ThreadRank) -> object:
        return trained(Program(model, threads=1, ranks=replace(rank, must_share=False)), count)

    assert on_ranks(2, work) == [alone] * 2


@pytest.mark.parametrize("name", MODELS)
def test_calls_that_try_one_worker_compute_the_bits_of_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(name)
    count = model.train.batch * model.train.accumulate * 2 - 5
    alone = trained(Program(model, threads=1), count)
    monkeypatch.setattr(loaded.Loaded, "must_share", False)
    monkeypatch.setattr(sharing, "_WARM_UP", 0)  # one call by all workers, and then one by a single one
    monkeypatch.setattr(sharing, "_TRIED", 1)
    teams, team = set[int](), loaded.Loaded.team

    def counted(self: loaded.Loaded, most: int) -> AbstractContextManager[Team]:
        teams.add(most)
        return team(self, most)

    monkeypatch.setattr(loaded.Loaded, "team", counted)
    for _ in range(2):
        assert trained(Program(model, threads=2), count) == alone
    assert teams == {1, 2}


def test_states_of_the_optimizer_stay_divided_while_gradients_accumulate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three updates leave the optimizer's states and what they accumulate divided, until all of them are done."""
    model = netc.parse(LARGE)
    count = model.train.samples_per_step * 3
    alone = trained(Program(model, threads=1), count)
    gathered: dict[int, list[int]] = {0: [], 1: []}
    run = ThreadExchange.run

    def counted(self: ThreadExchange) -> None:
        gathered[self._ranks.rank].append(sum(part.ends[-1] - part.ends[0] for part in self._parts))
        run(self)

    monkeypatch.setattr(ThreadExchange, "run", counted)
    assert on_ranks(2, lambda rank: trained(Program(model, threads=1, ranks=rank), count)) == [alone] * 2
    states = 2 * 4 * 400 * 600  # two of the large matrix
    assert [nbytes >= states for nbytes in gathered[0]] == [True, True], "once for each epoch"
    assert gathered[0] == gathered[1]


def test_an_error_of_a_message_ends_the_step() -> None:
    class Broken(ThreadRank):
        def exchange(self, parts: Sequence[Part]) -> ThreadExchange:
            exchange = ThreadExchange(self, parts)
            exchange.waits = [(failing, 0, 0, 0)]
            return exchange

        def failure(self, code: int) -> Exception:
            return OSError(code, "the network is down")

    function = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int64] * 3)(lambda *_: 7)
    failing = ctypes.cast(function, ctypes.c_void_p).value or 0

    def work(rank: ThreadRank) -> object:
        program = Program(model_of("mlp"), threads=2, ranks=Broken(rank.shared, rank.rank))
        return program.steps(fields_of(program, 24), np.arange(24), 0)

    with pytest.raises(OSError, match="the network is down"):
        on_ranks(2, work)
