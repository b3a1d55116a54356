"""Prefetches of a nest of loops: each element of a window, some iterations before it is read for the first time."""

import ast
import re
from itertools import product
from math import prod

import pytest

from netc.compiler.program.nests import Access, Line, Nest, Output, Reduction
from netc.compiler.program.scalars import FunctionCall, Name, number
from netc.compiler.targets.cpu.nests.loops import write, write_generic
from netc.compiler.targets.cpu.nests.prefetch import Stretch, gaps, numbered_rows, stretches
from netc.compiler.targets.emulator.texts import function_of
from netc.dsl.structs import replace

LAST = 48  # channels


def depthwise(height: int, width: int, apart: int) -> Nest:
    """Sums over images of windows of 3 x 3 times a smaller image. Rows are `apart` elements apart."""
    image = Access(0, "f32", (apart, LAST, 10_000, apart, LAST, 1))
    other = Access(1, "f32", (0, 0, 9_000, width * LAST, LAST, 1))
    target = Access(2, "f32", (3 * LAST, LAST, 0, 0, 0, 1))
    added = Reduction(number(0.0, "f32"), FunctionCall("fma", "f32", (Name("b"), Name("t1"), Name("a"))))
    return Nest(
        (3, 3, None, height, width, LAST),
        (Line("t0", image), Line("t1", other)),
        (Output("t0", target, added),),
        (0, 1, 2),
        (False, False, True, True, True, False),
    )


@pytest.mark.parametrize("apart", [7 * LAST, 9 * LAST, 40 * LAST])
@pytest.mark.parametrize(("axis", "inside"), [(3, {0: 3, 1: 3, 3: 1, 4: 5, 5: LAST}), (4, {1: 3, 4: 2, 5: LAST})])
def test_every_new_element_is_prefetched_before_it_is_read(apart: int, axis: int, inside: dict[int, int]) -> None:
    nest = depthwise(200, 5, apart)
    fetches = list(stretches(nest, axis, inside[axis], inside, inside.keys() - {3, 4, 5}))
    assert [stretch.access for stretch in fetches] == [line.value for line in nest.lines]
    for stretch in fetches:
        check_new_elements(stretch, axis, inside)


def check_new_elements(stretch: Stretch, axis: int, inside: dict[int, int]) -> None:
    """Asserts that what an iteration reads for the first time is prefetched some iterations before."""
    access = stretch.access
    move = access.strides[axis] * inside[axis]

    def read(iteration: int) -> set[int]:
        points = product(*(range(extent) for extent in inside.values()))
        offsets = {sum(access.strides[i] * n for i, n in zip(inside, point, strict=True)) for point in points}
        return {offset + iteration * move for offset in offsets}

    fetched = [
        {start + n for n in range(stretch.count)} for start in range(stretch.start, stretch.start + 60 * move, move)
    ]
    ahead = next(n for n in range(60) if read(n) - read(n - 1) <= fetched[0])
    assert ahead >= 1
    for iteration in range(20):
        assert read(iteration + ahead) - set().union(*map(read, range(iteration + ahead))) <= fetched[iteration]


def test_sums_over_windows_prefetch_both_of_their_operands() -> None:
    nest = depthwise(200, 5, 7 * LAST)
    assert re.findall(r"fetch_f32\(p(\d)", write(nest)) == ["0", "1"]
    assert "fetch" not in write(replace(nest, extents=(1, 1, *nest.extents[2:])))


@pytest.mark.parametrize("width", [11, 28])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_sums_that_stay_in_registers_prefetch_a_part_with_each_vector(width: int, lanes: int) -> None:
    """The parts are whole cache lines, and together what is read some rows later."""
    nest = depthwise(200, width, (width + 2) * LAST)
    text, numbers = write_generic(nest)
    assert not numbers
    (steps,) = {int(step) for step in re.findall(r"for i4 in range\(0, \d+, (\d+)\)", text)}
    sizes = {0: 3, 1: 3, 3: 1, 4: width, 5: LAST}
    for stretch in stretches(nest, 3, 1, sizes, (0, 1)):
        ((offset, count),) = set(re.findall(rf"fetch_f32\(p{stretch.access.pointer}, (.*), (\([^,]*)\)\n", text))
        fetched = set[int]()
        for i4, i5 in product(range(0, width // steps * steps, steps), range(0, LAST, lanes)):
            first = eval(offset, {"i2": 0, "i3": 0, "i4": i4, "i5": i5, "LANES_f32": lanes})
            number = eval(count, {"LANES_f32": lanes})
            assert number % 16 == 0
            fetched.update(range(first, first + number))
        assert fetched >= set(range(stretch.start, stretch.start + stretch.count))
        assert len(fetched) < 2 * stretch.count


def test_a_short_row_of_a_window_is_prefetched_at_once() -> None:
    text, _ = write_generic(depthwise(200, 5, 7 * LAST))
    fetches = ["p0, i2 * 10000 + i3 * 336 + 2688, 336", "p1, i2 * 9000 + i3 * 240 + 1920, 240"]
    assert re.findall(r"fetch_f32\((.*)\)", text) == fetches


@pytest.mark.parametrize(
    ("channels", "apart", "fetched"),
    [
        (LAST, LAST, ["i0 * 9600 + i1 * 960 + i2 * 48 + 1920, 240"]),  # rows follow one another: five at a time
        (LAST, 2 * LAST, []),  # with gaps between them
        (8, 8, []),  # rows shorter than a cache line
    ],
)
def test_a_convolution_prefetches_the_rows_that_it_writes(channels: int, apart: int, fetched: list[str]) -> None:
    """The result of a depthwise convolution: 10 x 20 elements of some channels, `apart` elements apart."""
    image = Access(0, "f32", (12 * 22 * channels, 22 * channels, channels, 22 * channels, channels, 1))
    weight = Access(1, "f32", (0, 0, 0, 3 * channels, channels, 1))
    target = Access(2, "f32", (200 * apart, 20 * apart, apart, 0, 0, 1))
    added = Reduction(number(0.0, "f32"), FunctionCall("fma", "f32", (Name("b"), Name("t1"), Name("a"))))
    folded = (False, False, False, True, True, False)
    lines = (Line("t0", image), Line("t1", weight))
    nest = Nest((None, 10, 20, 3, 3, channels), lines, (Output("t0", target, added),), (0, 1, 2), folded)
    assert re.findall(r"fetch_f32\(p2, (.*)\)", write(nest)) == fetched


@pytest.mark.parametrize(
    ("strides", "expected"),
    [
        ((4000, 448, 64, 1), (1, 8)),  # inside of a padded image
        ((2560, 320, 64, 1), None),  # no gap
        ((9999, 320, 64, 1), None),  # the rows between two gaps are long
        ((0, 0, 0, 1), None),  # a row that is read again and again
        ((640, 80, 10, 1), None),  # rows that overlap
    ],
)
def test_rows_that_lie_apart_are_prefetched(strides: tuple[int, ...], expected: tuple[int, int] | None) -> None:
    access, target = Access(0, "f32", strides), Access(1, "f32", (2560, 320, 64, 1))
    nest = Nest((None, 8, 5, 64), (Line("t0", access),), (Output("t0", target),), (0, 1), (False,) * 4)
    assert [(gap.axis, gap.ahead) for gap in gaps(nest)] == ([expected] if expected is not None else [])
    fetched = re.findall(r"fetch_f32\(p0, (.*)\)", write(nest))
    assert fetched == (["i0 * 4000 + i1 * 448 + 8 * 448, 5 * 64"] if expected is not None else [])


def test_rows_that_fill_the_gaps_of_others_are_not_prefetched() -> None:
    """The loads of a pool: four pointers into one image, which walk every second element of every second row."""
    loads = [Access(i, "f32", (6272, 896, 64, 1)) for i in range(4)]
    target = Access(4, "f32", (1568, 224, 32, 1))
    lines = tuple(Line(f"t{i}", load) for i, load in enumerate(loads))
    pool = Nest((None, 7, 7, 32), lines, (Output("t0", target),), (0, 0, 0, 0, 1), (False,) * 4)
    assert not [*gaps(pool)]
    assert len([*gaps(replace(pool, buffers=(0, 1, 2, 3, 4)))]) == 4, "each image has gaps"


@pytest.mark.parametrize(
    ("extents", "numbers", "row", "step", "fetched"),
    [
        ((None, None), (1, 0), (0, 1), 100, "load_i32_0(p0, min(i0 + 20, n0 - 1)) * 100, n1"),
        ((None, 4, 5, 20), (1, 0, 0, 0), (0, 100, 20, 1), 400, "load_i32_0(p0, min(i0 + 5, n0 - 1)) * 400, 4 * 5 * 20"),
        ((None, 7, 64), (7, 1, 0), (0, 0, 1), 64, "load_i32_0(p0, i0 * 7 + min(i1 + 32, 7 - 1)) * 64, 64"),
        ((None, 64), (3, 0), (0, 1), 128, "load_i32_0(p0, min(i0 + 16, n0 - 1) * 3) * 128, 64"),  # a part of each
        ((None, 8), (1, 0), (0, 1), 8, None),  # less than a line
        ((None, 1024), (1, 0), (0, 1), 1025, None),  # long
        ((None, 100), (1, 0), (0, 2), 200, None),  # every second element
        ((None, 100), (1, 0), (1, 1), 100, None),  # rows that also move by themselves
        ((None, 10, 30), (1, 0, 0), (0, 50, 1), 500, None),  # rows with gaps
        ((None, 100), (0, 1), (0, 0), 100, None),  # an element of each row
    ],
)
def test_rows_that_are_found_by_their_numbers_are_prefetched(
    extents: tuple[int | None, ...],
    numbers: tuple[int, ...],
    row: tuple[int, ...],
    step: int,
    fetched: str | None,
) -> None:
    """By a number some points later, which never lies behind the last one."""
    index, access = Access(0, "i32", numbers), Access(1, "f32", row, ("t0", step))
    sizes = [extent or step for extent in extents]
    target = Access(2, "f32", tuple(prod(sizes[i + 1 :]) for i in range(len(sizes))))
    lines = (Line("t0", index), Line("t1", access))
    nest = Nest(extents, lines, (Output("t1", target),), (0, 1, 2), (False,) * len(extents))
    assert len([*numbered_rows(nest)]) == (fetched is not None)
    assert re.findall(r"fetch_f32\(p1, (.*)\)", write(nest)) == ([fetched] if fetched is not None else [])


def test_the_emulator_leaves_prefetches_out() -> None:
    text = (
        "def kernel(p0, p1, n0):\n    for i0 in range(n0):\n        fetch_f32(p0, i0 + 4, 16)\n"
        "        store_f32_1(p1, i0, F32(1))\n"
    )
    assert ast.unparse(function_of(text)) == text.replace("        fetch_f32(p0, i0 + 4, 16)\n", "").strip()
