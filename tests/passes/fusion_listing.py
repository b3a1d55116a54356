"""Prints which values share a loop, for golden tests."""

from collections.abc import Iterator

from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.value import Value
from netc.compiler.lowering.units import Fusion, Unit


def fusion_lines(fusion: Fusion) -> Iterator[str]:
    """Each unit with the values that it computes, those computed on the way, and those that it reads from memory."""
    for unit in fusion.units:
        yield f"unit {unit.position}: {_space(unit)}"
        for value in unit.values:
            yield f"  {value_line(value)}"
        inside = sorted(_inside(fusion, unit), key=lambda value: value.number)
        for value in inside:
            shared = len(fusion.users[value]) > 1
            yield f"  {value_line(value)}  (computed {'again ' if shared else ''}on the way)"
        reads = {source for value in unit.values for source, _ in fusion.sources(value)} - set(unit.values)
        if reads:
            yield f"  reads {', '.join(f'%{value.number}' for value in sorted(reads, key=lambda value: value.number))}"


def value_line(value: Value) -> str:
    """A value as its operation, operands and type."""
    operands = ", ".join(f"%{operand.number}" for operand in value.operands)
    return f"%{value.number} = {value.operation}({operands}) : {value.type}"


def _space(unit: Unit) -> str:
    if unit.space is None:
        return f"{unit.values[0].operation} by itself"
    folded = f", folding axes {', '.join(map(str, unit.folded))}" if unit.folded else ""
    return f"a loop over [{', '.join(map(str, unit.space))}]{folded}"


def _inside(fusion: Fusion, unit: Unit) -> Iterator[Value]:
    """The values without memory that a unit computes for its own; each once."""
    pending, seen = list(unit.values), set[Value]()
    while pending:
        for operand in pending.pop().operands:
            if operand in seen:
                continue
            seen.add(operand)
            if operand in fusion.inlined:
                yield operand
                pending.append(operand)
            elif operand.operands and operand not in fusion.unit_of and not isinstance(_lower(operand), Scalar):
                pending.append(operand)  # a view: what it sees may be computed here


def _lower(value: Value) -> object:
    return value.lower
