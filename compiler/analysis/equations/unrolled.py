"""A scan with the equations of one of its steps, forward and backward."""

from msgspec import Struct

from netc.compiler.analysis.equations.equation import Equation, Loop
from netc.compiler.analysis.equations.formula import Formula, Name
from netc.compiler.analysis.equations.naming import Level
from netc.compiler.analysis.equations.stepped import with_later
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan
from netc.dsl.structs import replace


class Unrolled(Struct):
    """A scan, its body as a level with the slopes of one step, and the scan that computes those, if there is one.

    `later` says what stands for the slope by each carry that comes from the next step. `values` are the parts of both
    scans that have the numbers of a name.
    """

    scan: Value
    back: Value | None
    level: Level
    later: dict[Name, Formula]
    begins: list[tuple[Name, Formula]]
    values: dict[Formula, Value]

    def forward(self) -> list[Equation]:
        """The equations of one step, in order."""
        reader, scan = self.level.reader(), Scan.of(self.scan)
        equations = []
        for value in self.level.named():
            name = self.level.names[value]
            if value in self.level.forward and value.operands and isinstance(name, Name) and name.step == 0:
                equations.append(self._equation(name, reader.definition(value), value))
        return _opened(equations, Loop(scan.dim, scan.is_reversed, tuple(self.begins)))

    def backward(self) -> list[Equation]:
        """The equations of the slopes of one step, from its end to its beginning."""
        reader, scan = self.level.reader(), Scan.of(self.scan)
        equations = []
        for slope, value in sorted(self.level.value_of.items(), key=lambda item: item[0].number):
            name = self.level.names[slope]
            if isinstance(name, Name) and slope.operands:
                right = with_later(reader.definition(slope), self.later)
                equations.append(self._equation(name, right, value))
        return _opened(equations, Loop(scan.dim, not scan.is_reversed))

    def _equation(self, name: Name, right: Formula, of: Value) -> Equation:
        return Equation(name, right, of.span.line, self.values.get(name))


def _opened(equations: list[Equation], loop: Loop) -> list[Equation]:
    return [replace(equation, opens=loop) for equation in equations[:1]] + equations[1:]
