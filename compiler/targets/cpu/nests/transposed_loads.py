"""Finds the operands of a nest that are read across their rows, square by square (transposes.py).

Knows only the nest, no text and no machine.
"""

from netc.compiler.program.nests import BLOCK, Access, Nest

SIDES = (16, 8)  # rows and columns of a square that is transposed: the second one only for axes of so many elements
assert SIDES[0] ** 2 == BLOCK, "a square is a block of memory"
_MOST = 4  # operands of a loop that are transposed: each square is one or two kilobytes of the first cache


def transposed_loads(nest: Nest) -> dict[str, Access]:
    """Returns the loads, by line, whose elements are neighbours along one axis other than the last; none if transposing
    would not pay."""
    last = len(nest.extents) - 1
    if last < 1 or True in nest.folded or nest.combine is not None or not _is_long(nest, last):
        return {}
    if any(output.target.strides[last] != 1 or output.target.indirect is not None for output in nest.outputs):
        return {}
    loads = {
        line.name: line.value
        for line in nest.lines
        if isinstance(line.value, Access)
        and _is_across(line.value, last)
        and _is_long(nest, neighbouring_axis(line.value))
    }
    axis = next((neighbouring_axis(access) for access in loads.values()), 0)
    if any(output.target.strides[axis] == 0 for output in nest.outputs):
        return {}
    same = {name: access for name, access in loads.items() if neighbouring_axis(access) == axis}
    return same if len(same) <= _MOST else {}


def side_of(nest: Nest, *axes: int) -> int:
    """The side of the squares of a nest that reads across these axes."""
    return min(SIDES[0], *(nest.extents[axis] or SIDES[0] for axis in axes))


def _is_long(nest: Nest, axis: int) -> bool:
    return side_of(nest, axis) in SIDES


def _is_across(access: Access, last: int) -> bool:
    is_plain = access.pointer is not None and access.indirect is None and access.dtype in ("f32", "f64")
    return is_plain and access.strides[last] not in (0, 1) and 1 in access.strides


def neighbouring_axis(access: Access) -> int:
    """The axis along which the elements of a load are neighbours."""
    return access.strides.index(1)
