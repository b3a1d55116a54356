"""An equation, and the loop over steps that it may stand in. Data only."""

from dataclasses import dataclass

from netc.compiler.analysis.equations.formula import Formula, Name
from netc.compiler.ir.value import Value


@dataclass(frozen=True, slots=True)
class Loop:
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


@dataclass(frozen=True, slots=True)
class Equation:
    """`left = right`, and the line of the file that it comes from (0 for none).

    `value` computes it in the derivation's graph; None if it is computed only inside a scan. `opens` is set for the
    first equation of a loop.
    """

    left: Name
    right: Formula
    line: int
    value: Value | None
    opens: Loop | None = None
