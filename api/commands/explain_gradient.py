"""`netc explain M.net --gradient`: the equations of a model as text, with their numbers, or as LaTeX."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from netc.commands.terminal import say, say_lines

if TYPE_CHECKING:
    from netc.compiler.analysis.equations.derivation import Derivation
    from netc.compiler.analysis.equations.equation import Equation
    from netc.compiler.model import Model
    from netc.runtime.insight.derivation_values import ValuedDerivation

_MANY = 48  # numbers of a value, above which only their range is printed
_WIDTH = 88  # of the numbers


def show_gradient(model: "Model", line: int | None, latex: bool, values: bool, row: int | None) -> None:
    """Prints the equations of the forward and the backward pass, each with its line, or only those of one line.

    With `values`, the numbers of each for one row of the data follow it.
    """
    from netc.compiler.analysis.equations.derivation import derive
    from netc.compiler.analysis.equations.latex import written
    from netc.runtime.insight.derivation_values import derive_with_values

    if latex and values:
        raise typer.BadParameter("it cannot be used with --values", param_hint="--latex")
    if values:
        try:
            valued = derive_with_values(model, row)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--row") from error
        _print(valued.derivation.of_line(line), valued)
        return
    derivation = derive(model).of_line(line)
    if latex:
        say_lines(written(derivation))
    else:
        _print(derivation, None)


def _print(derivation: "Derivation", valued: "ValuedDerivation | None") -> None:
    from netc.compiler.analysis.equations.text import notation

    if valued is not None:
        say(f"for {valued.sample}, with the parameters that training begins with")
        width = max((len(name.text) for name, _ in derivation.leaves), default=0)
        for name, value in derivation.leaves:
            _print_numbers(f"  {name.text.ljust(width)} = ", valued.arrays[value])
        say()
    say("forward, from the inputs to the loss")
    _print_equations(derivation.forward, valued)
    say()
    say("backward, from the loss to the parameters")
    _print_equations(derivation.backward, valued)
    say()
    say("notation")
    say_lines("\n".join(f"  {line}" for line in notation(derivation)))


def _print_equations(equations: "Sequence[Equation]", valued: "ValuedDerivation | None") -> None:
    """Prints the equations below a heading for the numbers of their lines, with their signs `=` in one column."""
    from netc.compiler.analysis.equations.text import heading, text_of

    lefts = [("" if equation.left.step is None else "  ") + text_of(equation.left) for equation in equations]
    width = max(map(len, lefts), default=0)
    if equations:
        say("  line")
    for left, equation in zip(lefts, equations, strict=True):
        line = f"  {equation.line or '':>4}  "
        if equation.opens is not None:
            say(line + heading(equation.opens))
        say(f"{line}{left.ljust(width)} = {text_of(equation.right)}")
        if valued is not None and equation.value is not None:
            _print_numbers(" " * (len(line) + width) + " = ", valued.arrays[equation.value])


def _print_numbers(before: str, array: Any) -> None:
    """Prints a value after some text; what does not fit on its line is indented as far."""
    text = _numbers(array).replace("\n", "\n" + " " * len(before))
    say_lines(before + text)


def _numbers(array: Any) -> str:
    """All numbers of a small array; of a large one its shape and range."""
    import numpy as np

    if array.size > _MANY:
        shape = " x ".join(map(str, array.shape))
        return f"{shape} numbers from {array.min():.6g} to {array.max():.6g}"
    width = max((len(f"{x:.6g}") for x in array.flat), default=0) if array.ndim else 0
    return np.array2string(array, max_line_width=_WIDTH, formatter={"all": lambda x: f"{x:.6g}".rjust(width)})
