"""Rooflines: the bound of some work, the bytes that a call touches, the level they lie in, and the cached bounds."""

import gc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.compiler import pipeline
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import Sizes
from netc.compiler.lowering.lower import lower
from netc.compiler.operations.shape import pad
from netc.compiler.operations.touched import first_equal
from netc.compiler.planning.locality import Locality
from netc.compiler.planning.plan import plan
from netc.compiler.planning.traffic import accesses_of, traffic
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.tasks import Tasks
from netc.compiler.targets.bounds import LEVELS, STREAMS, Bounds, Work
from netc.compiler.targets.cpu.bounds import measured as bounds_measured
from netc.compiler.targets.cpu.bounds.calls import measure_call
from netc.compiler.targets.cpu.bounds.peak import PeakLoop
from netc.compiler.targets.cpu.bounds.streams import StreamLoops, last_cache_misses, measure_rates
from netc.compiler.targets.machine import LINE, Machine, host
from netc.compiler.targets.named import NAMED
from netc.dsl.structs import replace
from netc.testing import graph_of

KIB = 1 << 10
RATES = {
    level: {"read": 2 * rate, "write": rate, "update": rate, "copy": rate}
    for level, rate in zip(LEVELS, (800.0, 400.0, 200.0, 100.0), strict=True)
}
BOUNDS = Bounds(
    {"f32": 1000.0, "f64": 500.0, "bf16": 2000.0, "bf16 in tiles": 8000.0},
    {"f32": 100.0, "f64": 50.0},
    {"f32": 40.0, "f64": 20.0},
    RATES,
    {"first cache": 32 * KIB, "second cache": KIB**2, "last cache": 8 * KIB**2},
    ((4 * KIB**2, 0.0), (8 * KIB**2, 0.5)),
    40.0,
    0.25,
)


@pytest.mark.parametrize(
    ("work", "name", "seconds"),
    [
        (Work(2000, "f32"), "compute", 2.0),
        (Work(2000, "f64"), "compute", 4.0),
        (Work(2000, "bf16"), "compute", 1.0),
        (Work(2000, "f32", {"first cache": 800}), "compute", 2.0),
        (Work(2000, "f32", divisions=100), "compute", 2.0),
        (Work(2000, "f32", divisions=100, roots=60), "compute", 2.5),
        (Work(2000, "f64", roots=100), "compute", 5.0),
        (Work(2000, "bf16", divisions=300), "compute", 3.0),
        (Work(0, "f32", {"first cache": 800}), "first cache", 1.0),
        (Work(0, "f32", {"first cache": 800}, "read"), "first cache", 0.5),
        (Work(900, "f32", {"second cache": 400}), "second cache", 1.0),
        (Work(0, "f32", {"memory": 100, "first cache": 400}), "memory", 1.0),
        (Work(0, "f32", {"memory": 50, "last cache": 200, "first cache": 200}), "last cache", 1.25),
        (Work(0, "f32", {"memory": 100, "first cache": 8000}), "first cache", 8100 / 800),
        (Work(200, "f32", {"first cache": 160}), "call", 0.25),
        (Work(600, "f32", {"first cache": 160}, calls=3), "call", 0.75),
        (Work(0, "f32", {"first cache": 160}, accesses=20), "first cache", 0.5),
    ],
)
def test_the_slowest_rate_bounds_a_kernel(work: Work, name: str, seconds: float) -> None:
    bound = BOUNDS.of(work)
    assert (bound.name, bound.seconds) == (name, pytest.approx(seconds))


def test_a_level_keeps_what_fits_into_it() -> None:
    distances = {32 * KIB: "first cache", 32 * KIB + 1: "second cache", 2 * KIB**2: "last cache", 9 * KIB**2: "memory"}
    assert {distance: BOUNDS.level_of(distance)[0] for distance in distances} == distances


def test_the_last_cache_loses_more_the_fuller_it_is() -> None:
    shares = {4 * KIB**2: 0.0, 5 * KIB**2: 0.125, 6 * KIB**2: 0.25, 8 * KIB**2: 0.5}
    assert {distance: BOUNDS.level_of(distance)[1] for distance in shares} == pytest.approx(shares)
    assert BOUNDS.level_of(2 * KIB**2) == ("last cache", 0.0)
    assert BOUNDS.level_of(9 * KIB**2) == ("memory", 0.0)
    assert replace(BOUNDS, misses=()).level_of(8 * KIB**2) == ("last cache", 0.0)


# ------------------------------------------------------------------ what a call touches


def tasks_of(text: str, sizes: Sizes, machine: Machine = NAMED["avx512"]) -> Tasks:
    model = netc.parse(
        f"model {{\n{text}\n}}\ntrain {{ batch = {sizes if isinstance(sizes, int) else sizes['batch']} }}\n"
    )
    graph = pipeline.training_graph(model) if "loss" in text else pipeline.prediction_graph(model)
    return lower(pipeline.run_passes(graph), sizes, machine)


def touched(tasks: Tasks, sizes: Sizes) -> list[list[tuple[int, int]]]:
    """The bytes that each task reads and writes, buffer by buffer."""
    return [sorted((touch.read, touch.written) for touch in traffic(task, sizes).values()) for task in tasks.tasks]


def test_a_product_touches_its_operands_once() -> None:
    batch, x, w = 10, 4 * 10 * 24, 4 * 24 * 40
    tasks = tasks_of("input x: float[24]\nparam w: float[24, 40] = ones\noutput z = x @ w", batch)
    (product,) = [task for task in tasks.tasks if isinstance(task.kernel, Contraction)]
    assert sorted((touch.read, touch.written) for touch in traffic(product, batch).values()) == [
        (0, 4 * batch * 40),
        (x, 0),
        (w, 0),
    ]


def test_a_loop_touches_rows_of_its_inputs_and_weights_once() -> None:
    batch = 8
    tasks = tasks_of("input x: float[50]\nparam w: float[50]\noutput z = x * w", batch)
    assert touched(tasks, batch) == [[(0, 4 * batch * 50), (4 * 50, 0), (4 * batch * 50, 0)]]


def test_a_lookup_touches_the_rows_that_it_reads_and_not_the_table() -> None:
    batch, rows = 8, 100_000
    tasks = tasks_of(f"input t: class({rows})[3]\noutput z = t -> embed(16)", batch)
    nbytes = 4 * batch * 3 * 16
    assert [(nbytes, 0)] == [touch for task in touched(tasks, batch) for touch in task if touch[0] >= nbytes]


def test_equal_indices_are_found_by_single_accesses() -> None:
    graph, _, result = graph_of(first_equal, ("class(9)[batch, 3]",), {})
    graph.results = {ResultKind.VALUE.named("y"): result}
    tasks = lower(graph, 8, NAMED["avx512"]).tasks
    assert [accesses_of(task, 8) for task in tasks] == [0, 5 * 8 * 3], "the batch is gathered, and searched"


def test_windows_that_overlap_touch_their_image_once() -> None:
    batch = 4
    tasks = tasks_of("input x: float[20, 20, 8]\noutput z = x -> conv(16)", batch)
    (product,) = [task for task in tasks.tasks if isinstance(task.kernel, Contraction)]
    image, result = 4 * batch * 22 * 22 * 8, 4 * batch * 20 * 20 * 16
    assert {(image, 0), (4 * 9 * 8 * 16, 0), (0, result)} <= {
        (touch.read, touch.written) for touch in traffic(product, batch).values()
    }


def test_a_step_of_a_scan_reads_its_weights_again() -> None:
    batch, steps, units = 4, 10, 16
    sizes = {"batch": batch, f"steps of {steps}": batch * steps}
    tasks = tasks_of(f"input x: float[{steps}, 8]\noutput z = x -> rnn({units})", sizes)
    recurrent = [task for task in tasks.tasks if task.walk is not None and isinstance(task.kernel, Contraction)]
    read = {touch.read for task in recurrent for touch in traffic(task, sizes).values()}
    assert 4 * units * units * steps in read


# ------------------------------------------------------------------ where it lies


def works_of(text: str, batch: int, bounds: Bounds, members: int = 1) -> list[Work]:
    """The bytes of each task of a model, by level."""
    tasks = tasks_of(text, batch)
    persistent = {name: 4096 * KIB * i for i, name in enumerate(tasks.leaves)}
    return [*Locality(plan(tasks, persistent, batch, NAMED["avx512"]), batch, members, {"x": 1 << 40}).works(bounds)]


def levels_of(text: str, batch: int, bounds: Bounds, members: int = 1) -> list[set[str]]:
    """The levels of the bytes of each task of a model."""
    return [
        {level for level, nbytes in work.nbytes.items() if nbytes} for work in works_of(text, batch, bounds, members)
    ]


CHAIN = "input x: float[64]\nparam w: float[64, 64] = ones\nz = x @ w\nloss mean(square(z))"


def test_bytes_lie_where_they_were_touched_last() -> None:
    small = levels_of(CHAIN, 8, BOUNDS)
    assert all(levels <= {"first cache", "second cache", "memory"} for levels in small)
    assert any("memory" in levels for levels in small), "the data is larger than any cache"
    tiny = replace(BOUNDS, capacities={"first cache": KIB, "second cache": 2 * KIB, "last cache": 4 * KIB})
    assert any("memory" in levels for levels in levels_of(CHAIN, 8, tiny)[1:])
    assert not any("first cache" in levels for levels in levels_of(CHAIN, 256, tiny)[:1])


def test_some_bytes_of_a_full_last_cache_come_from_memory() -> None:
    small = {"first cache": 4 * KIB, "second cache": 8 * KIB, "last cache": 256 * KIB}
    fits, spills = (replace(BOUNDS, capacities=small, misses=((256 * KIB, share),)) for share in (0.0, 0.75))
    before, after = (works_of(CHAIN, 256, bounds) for bounds in (fits, spills))
    assert [sum(work.nbytes.values()) for work in after] == [sum(work.nbytes.values()) for work in before]
    moved = [new.nbytes["memory"] - old.nbytes["memory"] for old, new in zip(before, after, strict=True)]
    assert [new.nbytes["last cache"] - old.nbytes["last cache"] for old, new in zip(before, after, strict=True)] == [
        -nbytes for nbytes in moved
    ]
    assert any(moved)


def test_a_kernel_of_a_scan_is_called_for_each_step() -> None:
    sizes = {"batch": 4, "time": 20}
    tasks = tasks_of("input x: float[time, 8]\noutput y = rnn(x, 8)", sizes)
    persistent = {name: KIB * i for i, name in enumerate(tasks.leaves)}
    works = Locality(plan(tasks, persistent, sizes, NAMED["avx512"]), sizes, 1, {}).works(BOUNDS)
    assert {work.calls for work in works} == {1, 5}


def test_samples_come_again_after_those_of_all_inputs() -> None:
    tasks = tasks_of("input x: float[64]\ninput y: float[64]\noutput z = x * y", 8)
    planned = plan(tasks, {}, 8, NAMED["avx512"])

    def from_the_second(nbytes: int, members: int = 1) -> list[int]:
        works = Locality(planned, 8, members, {"x": nbytes, "y": nbytes}).works(BOUNDS)
        return [work.nbytes["second cache"] for work in works]

    assert from_the_second(20 * KIB) == [2 * 8 * 64 * 4], "each alone would fit the first cache"
    assert from_the_second(20 * KIB, 2) == from_the_second(12 * KIB) == [0]


def test_the_parts_of_a_result_are_written_once_in_a_step() -> None:
    """The border of a padded image is not found again after its inner part was written."""
    attributes = {"axes": (1, 2), "before": (1, 1), "after": (1, 1), "step": (1, 1)}
    graph, _, result = graph_of(pad, ("f64[batch, 64, 64, 8]",), attributes)
    graph.results = {ResultKind.VALUE.named("y"): result}
    planned = plan(lower(graph, 8, NAMED["avx512"]), {}, 8, NAMED["avx512"])
    works = [*Locality(planned, 8, 1, {"x": KIB}).works(BOUNDS)]
    assert len(works) > 2, "borders are calls of their own"
    assert not any(work.nbytes["first cache"] for work in works if work.stream == "write")


def test_what_another_worker_has_written_lies_in_the_cache_that_both_share() -> None:
    alone, together = (levels_of(CHAIN, 64, BOUNDS, members) for members in (1, 2))
    assert not any("last cache" in levels for levels in alone)
    assert any("last cache" in levels for levels in together)


# ------------------------------------------------------------------ the cache of bounds


def alone(work, members: int) -> None:
    for member in range(members):
        work(member)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The numbers of workers that bounds are measured for, in an empty cache."""
    calls: list[int] = []

    def measure(machine: Machine, members: int, run: object) -> Bounds:
        calls.append(members)
        return replace(BOUNDS, flops={**BOUNDS.flops, "f32": 1000.0 * len(calls)})

    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(bounds_measured, "measure", measure)
    return calls


def test_bounds_are_measured_once(measured: list[int]) -> None:
    first = bounds_measured.bounds_of(host(), 2, alone)
    assert bounds_measured.bounds_of(host(), 2, alone) == first
    assert measured == [2]
    bounds_measured.bounds_of(host(), 1, alone)
    bounds_measured.bounds_of(replace(host(), second_cache=1), 1, alone)
    assert measured == [2, 1, 1]
    again = bounds_measured.bounds_of(host(), 2, alone, again=True)
    assert again.flops["f32"] == 4000.0
    assert bounds_measured.bounds_of(host(), 2, alone) == again


@pytest.mark.parametrize("damage", ["", "{}", "[1]", "[" * 100_000, '{"digest": "0", "bounds": {}}', None])
def test_a_damaged_file_is_measured_again(measured: list[int], tmp_path: Path, damage: str | None) -> None:
    before = bounds_measured.bounds_of(host(), 1, alone)
    (path,) = (tmp_path / "own").glob("bounds-*.json")
    text = path.read_text()
    path.write_text(text.replace("1000.0", "9000.0") if damage is None else damage)
    after = bounds_measured.bounds_of(host(), 1, alone)
    assert (before.flops["f32"], after.flops["f32"]) == (1000.0, 2000.0)
    assert bounds_measured.bounds_of(host(), 1, alone) == after


@pytest.mark.parametrize("number", [0, -1.0, "1", None, float("nan"), float("inf")])
def test_numbers_that_are_no_rates_are_measured_again(
    measured: list[int], monkeypatch: pytest.MonkeyPatch, number: object
) -> None:
    rates = {**RATES, "memory": {**RATES["memory"], "read": number}}
    with monkeypatch.context() as patch:
        patch.setattr(bounds_measured, "measure", lambda *_: replace(BOUNDS, rates=rates))
        bounds_measured.bounds_of(host(), 1, alone)
    assert bounds_measured.bounds_of(host(), 1, alone).rates == RATES


@pytest.mark.parametrize("name", netc.compiler.targets.named.runnable())
def test_multiply_adds_run_on_every_instruction_set(name: str) -> None:
    machine = NAMED[name]
    lanes = {dtype: machine.lanes("f64" if dtype == "f64" else "f32") for dtype in ("f32", "f64", "bf16")}
    for dtype, count in lanes.items():
        loop = PeakLoop(dtype, machine, iterations=3)
        loop.run()
        assert loop.flops == 2 * count * 10 * 3 * (2 if dtype == "bf16" else 1)  # ten sums


def test_a_loop_that_nothing_else_refers_to_can_be_run() -> None:
    """`run` keeps the machine code: without that, its memory would be freed before the call."""
    run, walk, array = PeakLoop("f32", iterations=3).run, StreamLoops(host()).run, np.zeros(1 << 14, np.uint8)
    gc.collect()
    run()
    address = -(-array.ctypes.data // LINE) * LINE
    assert walk("read", address, address, address, array.nbytes - LINE, 1) == 0


def test_tiles_are_measured_where_products_use_them() -> None:
    machine = replace(netc.compiler.targets.named.machine_for(), has_pairs=True, has_tiles=True)
    loop = PeakLoop("bf16 in tiles", machine, iterations=16)
    loop.run()
    assert loop.flops == 2 * 4 * 2 * 16 * 16 * 32  # two turns of four tiles of 16 x 16 sums, each of 32 products
    assert "bf16 in tiles" in bounds_measured.dtypes_of(NAMED["amx"])
    assert "bf16 in tiles" not in bounds_measured.dtypes_of(NAMED["avx512bf16"])


def test_pairs_are_measured_where_products_multiply_them() -> None:
    assert "bf16" in bounds_measured.dtypes_of(NAMED["avx512bf16"])
    assert "bf16" not in bounds_measured.dtypes_of(NAMED["avx512"])


def test_a_call_takes_time() -> None:
    assert 0 < measure_call(host(), runs=1) < 1e-3


@pytest.mark.parametrize("name", [name for name in NAMED if name in netc.compiler.targets.named.runnable()])
def test_the_loops_run_on_every_instruction_set(name: str) -> None:
    capacities = {"first cache": 4 * KIB, "second cache": 16 * KIB, "last cache": 64 * KIB}
    rates = measure_rates(NAMED[name], capacities, 2, alone, runs=1)
    assert rates.keys() == set(LEVELS)
    for near, far in pairwise(LEVELS):
        assert all(rates[near][stream] >= rates[far][stream] > 0 for stream in STREAMS)


def test_what_the_last_cache_misses_follows_from_the_rate_of_copies() -> None:
    capacities = {"first cache": 4 * KIB, "second cache": 16 * KIB, "last cache": 64 * KIB}

    def misses(near: float, far: float) -> list[tuple[int, float]]:
        rates = {level: dict.fromkeys(STREAMS, far if level == "memory" else near) for level in LEVELS}
        return last_cache_misses(host(), capacities, rates, 1, alone, runs=1)

    sizes = [size * KIB for size in range(20, 65, 4)]
    assert misses(2.0, 1.0) == [(size, 0.0) for size in sizes], "every size moves faster than two bytes in a second"
    assert misses(1e18, 1e18) == [(size, 1.0) for size in sizes], "all bytes move as slowly as from memory"
    shares = [share for _, share in misses(1e18, 1e6)]
    assert shares == sorted(shares), "more arrays do not move faster"
    assert 0 < shares[0] < 1
