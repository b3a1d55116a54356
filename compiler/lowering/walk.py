"""The walk that lowers a graph: leaves, then the units of fuse.py one after another, then results and updates."""

from netc.compiler.ir.forms import Custom, Form, Scatter, SpecialForm
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.elementwise import lower_loop
from netc.compiler.lowering.forms import LOWERED
from netc.compiler.lowering.in_place import inputs_in_place
from netc.compiler.lowering.results import result_buffer, stack_rows, write_updates
from netc.compiler.lowering.units import Unit
from netc.compiler.program.tasks import StridedView, Tasks


def lower_graph(lowering: Lowering) -> Tasks:
    """Adds the tasks of all values of the graph. Returns the program."""
    for value in lowering.graph.values():
        if value.name:
            lowering.add_leaf(value)
        elif value.role is Role.RANGE:
            lowering.views[value] = StridedView(None, (1,))
    lowering.in_place = inputs_in_place(lowering)
    for value in lowering.stacks:  # a carry is yielded as it was, before the step writes the next one
        if lowering.is_carry(value):
            stack_rows(lowering, value)
    for unit in lowering.fusion.units:
        _lower_unit(lowering, unit)
    for value in lowering.stacks:
        stack_rows(lowering, value)
    for result, value in lowering.graph.results.items():
        if result not in lowering.bindings.yields and result.kind is not ResultKind.UPDATE:
            lowering.program.results[result] = result_buffer(lowering, value, str(result))
    write_updates(lowering)
    return lowering.program


def _lower_unit(lowering: Lowering, unit: Unit) -> None:
    if unit.space is not None:
        lower_loop(lowering, unit)
        return
    (value,) = unit.values
    LOWERED[_form_of(lowering, value)](lowering, value)


def _form_of(lowering: Lowering, value: Value) -> Form:
    """The form that a value's operation declares; a sum that a register tile starts from is part of a contraction."""
    if value in lowering.fusion.starts:
        return Form.CONTRACTION
    lower = OPERATIONS[value.operation].lower
    assert isinstance(lower, SpecialForm | Scatter | Custom), f"{value} has no kernel at {value.span}"
    return lower.form
