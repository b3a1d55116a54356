"""Reads values of a graph as formulas of named values.

Operations that only change a shape or a type are left out. What a graph spells out (a mask, a division by a count, the
rows of sequences) is read as what it means: `[h > 0]`, `mean`, `last`.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from netc.compiler.analysis.equations.formula import (
    Call,
    Condition,
    Element,
    Formula,
    MatrixProduct,
    Name,
    Transpose,
    divided,
    linear,
    negative,
    number,
    plus,
    powered,
    times,
)
from netc.compiler.analysis.equations.patterns import (
    axes,
    count,
    count_of,
    is_mask,
    label_of,
    position_of,
    shown,
)
from netc.compiler.ir.attributes import Axis, Constant, Dims, Over
from netc.compiler.ir.index_tables import IndexTable, TableKind, table_of
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations.elementwise import COMPARISONS, equal, where
from netc.compiler.operations.gathering import scatter_add
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.reduce import sum_, variance_whole
from netc.compiler.operations.scan import Part
from netc.compiler.operations.shape import Count, Slice

_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_FEW_POWERS = 16
_ROWS_AS_FUNCTIONS = {TableKind.REVERSE: "reverse", TableKind.LAST: "last", TableKind.FIRST: "first"}


class Reader(Struct):
    """Reads values as formulas, in which values that are in `names` stand for themselves.

    `parts` are the formulas of parts of scans that have one. A formula in `equal` is replaced by the name that it
    defines.
    """

    names: Mapping[Value, Formula]
    parts: Mapping[Value, Formula] = field(default_factory=dict)
    equal: dict[Formula, Name] = field(default_factory=dict)
    read: dict[Value, Formula] = field(default_factory=dict)

    def formula(self, value: Value) -> Formula:
        """The name of a value, or else the formula that defines it."""
        value = shown(value)
        if value in self.names:
            return self.names[value]
        formula = self.definition(value)
        return self.equal.get(formula, formula)

    def definition(self, value: Value) -> Formula:
        """The formula that defines a value, whether it has a name or not."""
        value = shown(value)
        if value not in self.read:
            self.read[value] = self._read(value)
        return self.read[value]

    def _read(self, value: Value) -> Formula:
        operands = value.operands
        match value.operation:
            case "constant":
                return number(float(value.attributes_as(Constant).value))
            case "add" | "subtract" | "multiply" | "divide" | "neg" | "square" | "power":
                return self._arithmetic(value)
            case "extent":
                return times(*map(_size, value.attributes_as(Dims).dims))
            case "where":
                return self._choice(*operands)
            case "einsum":
                return self._product(value)
            case "transpose":
                return Transpose(self.formula(operands[0]))
            case "sum" | "gather" | "scatter_add" | "segment_max" | "interleave":
                return self._gathering(value)
        if value.operation in COMPARISONS:
            return self._comparison(value)
        return self._part(value)

    def _part(self, value: Value) -> Formula:
        """A part of a value, a leaf of the runtime, or else a function."""
        operands = value.operands
        match value.operation:
            case "arange":
                return Call("arange", (number(value.attributes_as(Count).n),))
            case "slice":
                bounds = value.attributes_as(Slice)
                is_one = bounds.stop == bounds.start + 1
                at = str(bounds.start) if is_one else f"{bounds.start}..{bounds.stop}"
                return Element(self.formula(operands[0]), at)
            case "given":
                table = table_of(value)
                return Name(value.name if table is None else f"{table.kind.value}({table.dim})")
            case "part":
                return self.parts.get(value) or Call("scan", (Name(value.attributes_as(Part).of),))
        return self._call(value)

    # ------------------------------------------------------------------ arithmetic

    def _arithmetic(self, value: Value) -> Formula:
        formulas = [self.formula(operand) for operand in value.operands]
        match value.operation:
            case "add":
                return plus(*formulas)
            case "subtract":
                return plus(formulas[0], negative(formulas[1]))
            case "multiply":
                return times(*formulas)
            case "neg":
                return negative(formulas[0])
            case "square":
                return powered(formulas[0], 2)
            case "divide":
                mean = self._mean(*value.operands)
                return mean if mean is not None else divided(*formulas)
        exponent = shown(value.operands[1])
        if exponent.role is Role.CONSTANT:
            size = float(exponent.attributes_as(Constant).value)
            if size.is_integer() and 0 < abs(size) <= _FEW_POWERS:
                return powered(formulas[0], int(size))
        return Call("power", tuple(formulas))

    def _mean(self, total: Value, by: Value) -> Formula | None:
        """A sum divided by the number of its addends is their mean; None for any other quotient."""
        total, divided_by = shown(total), shown(by)
        if total in self.names:
            return None
        table = table_of(total.operands[1]) if total.definition is scatter_add else None
        divisor = table_of(divided_by)
        if table is not None and divisor is not None and divisor.kind is TableKind.LENGTH:
            if table.kind is TableKind.SAMPLE and table.dim == divisor.dim:
                return Call("mean", (self.formula(total.operands[0]),), (table.dim,))
            return None
        if total.definition is not sum_:
            return None
        inner = total.operands[0]
        dims = [inner.type.dims[axis] for axis in total.attributes_as(Over).over]
        if count_of(divided_by) != count(dims):
            return None
        return linear("mean", self.formula(inner), axes(inner, total))

    # ------------------------------------------------------------------ masks

    def _choice(self, condition: Value, first: Value, second: Value) -> Formula:
        """`where`: times a condition if one of the two is 0."""
        chosen, other, mask = self.formula(first), self.formula(second), self._mask(condition)
        if other == number(0):
            return times(chosen, mask)
        if chosen == number(0) and isinstance(mask, Condition):
            return times(other, Condition(_OPPOSITE[mask.sign], mask.left, mask.right))
        return Call("where", (mask, chosen, other))

    def _mask(self, condition: Value) -> Formula:
        """A condition as 0 or 1; whether a mask is 1 is the mask itself."""
        condition = shown(condition)
        if condition.definition is equal and condition not in self.names:
            left, right = map(shown, condition.operands)
            if right.role is Role.CONSTANT and right.attributes_as(Constant).value == 1 and is_mask(left):
                return self.formula(left)
        return self.formula(condition)

    def _comparison(self, value: Value) -> Formula:
        label = label_of(value)
        if label is not None:
            return Call("onehot", (self.formula(label),))
        if value.definition is equal and is_mask(value.operands[0]):
            return self._mask_or_condition(value)
        left, right = map(self.formula, value.operands)
        return Condition(COMPARISONS[value.operation], left, right)

    def _mask_or_condition(self, value: Value) -> Formula:
        left, right = map(shown, value.operands)
        if right.role is Role.CONSTANT and right.attributes_as(Constant).value == 1:
            return self.formula(left)
        return Condition("==", self.formula(left), self.formula(right))

    # ------------------------------------------------------------------ products

    def _product(self, value: Value) -> Formula:
        """A matrix product as `x @ W`, with operands transposed as its subscripts say; any other product as einsum."""
        left, right = value.operands
        subscripts = value.attributes_as(Subscripts)
        first, second = subscripts.inputs.split(",")
        for x, y, p, q in ((left, right, first, second), (right, left, second, first)):
            shared = [letter for letter in p if letter in q and letter not in subscripts.out]
            kept = "".join(letter for letter in p + q if letter not in shared)
            if len(shared) != 1 or len(p) > 2 or len(q) > 2 or subscripts.out != kept:
                continue
            rows = self.formula(x) if p.endswith(shared[0]) else _transposed(self.formula(x))
            columns = self.formula(y) if q.startswith(shared[0]) else _transposed(self.formula(y))
            return MatrixProduct(rows, columns)
        return Call("einsum", (self.formula(left), self.formula(right), Name(f'"{subscripts.subscripts}"')))

    # ------------------------------------------------------------------ sums, and rows of sequences

    def _gathering(self, value: Value) -> Formula:
        match value.operation:
            case "sum":
                return self._sum(value)
            case "interleave":
                return self._unpooled(value)
        inner, table = value.operands[0], table_of(value.operands[1])
        if table is None:
            return self._call(value)
        formula = self.formula(inner)
        match value.operation, table:
            case "scatter_add", IndexTable(kind=TableKind.SAMPLE):
                return Call("sum", (formula,), (table.dim,))
            case "segment_max", IndexTable(kind=TableKind.SAMPLE):
                return Call("max", (formula,), (table.dim,))
            case "gather", IndexTable(kind=TableKind.SAMPLE):
                return formula  # every step reads the number of its sample
            case "gather" | "scatter_add", IndexTable(kind=TableKind.REVERSE):
                return Call("reverse", (formula,))
            case "gather", IndexTable(kind=kind) if kind in _ROWS_AS_FUNCTIONS:
                return Call(_ROWS_AS_FUNCTIONS[kind], (formula,))
            case "scatter_add", IndexTable(kind=kind) if kind in _ROWS_AS_FUNCTIONS:
                return Call(f"at_{_ROWS_AS_FUNCTIONS[kind]}", (formula,))
            case "gather", IndexTable(kind=TableKind.TO):
                return Call("shifted", (formula,))
            case "scatter_add", IndexTable(kind=TableKind.TO):
                return Call("shifted_back", (formula,))
        return self._call(value)

    def _sum(self, value: Value) -> Formula:
        """A sum; over the classes, what the label's element of a one-hot mask leaves."""
        inner = shown(value.operands[0])
        if inner.definition is where and inner not in self.names:
            condition, chosen, other = inner.operands
            mask = shown(condition)
            mask = shown(mask.operands[0]) if mask.definition is equal and is_mask(mask.operands[0]) else mask
            label, axis = label_of(mask), inner.type.rank - 1
            if label is not None and value.attributes_as(Over).over == (axis,) and self.formula(other) == number(0):
                return Element(self.formula(chosen), self.formula(label))
        return linear("sum", self.formula(value.operands[0]), axes(value.operands[0], value))

    def _unpooled(self, value: Value) -> Formula:
        """The derivative of a pooled maximum: it goes to the element that was the largest."""
        parts = [shown(operand) for operand in value.operands]
        if all(part.definition is where and position_of(part.operands[0]) is not None for part in parts):
            positions = {(position_of(part.operands[0]), shown(part.operands[1])) for part in parts}
            if len(positions) == 1:
                position, spread = positions.pop()
                assert position is not None
                return Call("unpool", (self.formula(spread), self.formula(position)))
        return self._call(value)

    def _call(self, value: Value) -> Formula:
        arguments = tuple(self.formula(operand) for operand in value.operands)
        if isinstance(value.attributes, Over) and value.operands:
            function = "variance" if value.definition is variance_whole else value.operation
            return Call(function, arguments, axes(value.operands[0], value))
        if isinstance(value.attributes, Axis) and value.operands:
            axis = value.attributes.axis - int(value.type.is_batched)
            return Call(value.operation, arguments, () if axis == 0 else (str(axis),))
        return Call(value.operation, arguments)


def _transposed(formula: Formula) -> Formula:
    return formula.inner if isinstance(formula, Transpose) else Transpose(formula)


def _size(dim: Dim) -> Formula:
    return number(dim) if isinstance(dim, int) else Name(str(dim), is_scalar=True)
