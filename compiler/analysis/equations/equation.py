"""An equation, and the loop over steps that it may stand in. Data only."""

from msgspec import Struct

from netc.compiler.analysis.equations.formula import Formula, Name
from netc.compiler.ir.value import Value
from netc.dsl.structs import replace


class Loop(Struct, frozen=True):
    """The loop that the equations of one step stand in.

    It goes along `dim`, from its end if `is_reversed`. `begins` are the carries before its first step; a loop of
    derivatives, which are 0 after the last step, has none.
    """

    dim: str
    is_reversed: bool
    begins: tuple[tuple[Name, Formula], ...] = ()

    @property
    def before(self) -> int:
        """The step before, relative to this one."""
        return 1 if self.is_reversed else -1

    @property
    def direction(self) -> str:
        """The order of the steps in words."""
        return "from the last to the first" if self.is_reversed else "from the first to the last"

    @property
    def starts(self) -> tuple[tuple[Name, Formula], ...]:
        """The names of the carries before the first step, and what they are."""
        return tuple((replace(name, step=self.before), begin) for name, begin in self.begins)


class Equation(Struct, frozen=True):
    """`left = right`, and the line of the file that it comes from (0 for none).

    `value` computes it in the derivation's graph; None if it is computed only inside a scan. `opens` is set for the
    first equation of a loop.
    """

    left: Name
    right: Formula
    line: int
    value: Value | None
    opens: Loop | None = None
