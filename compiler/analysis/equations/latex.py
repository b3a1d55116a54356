r"""Equations as LaTeX: an `align*` environment with `\frac{\partial L}{\partial h}` for the derivative by h.

A name is written by its last part, `W_{\mathrm{dense}}`, with as much before it as sets it apart from the others.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from netc.compiler.analysis.equations.derivation import Derivation
from netc.compiler.analysis.equations.equation import Equation, Loop
from netc.compiler.analysis.equations.formula import (
    ATOM,
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    Call,
    Condition,
    Element,
    Formula,
    MatrixProduct,
    Name,
    Sum,
    Term,
    Transpose,
    everywhere,
)

_SIGNS = {"<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne"}
_FUNCTIONS = {name: rf"\{name}" for name in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min")}
_STEPS = {0: "t", 1: "t+1", -1: "t-1"}
_SPECIAL = {"\\": r"\backslash ", "{": r"\{", "}": r"\}", "^": r"\hat{\ }", "~": r"\sim "}


def written(derivation: Derivation) -> str:
    """The equations of a derivation as one `align*` environment: forward, then backward."""
    equations = [*derivation.forward, *derivation.backward]
    names = {
        part.text
        for part in everywhere(
            [*(equation.left for equation in equations), *(equation.right for equation in equations)]
        )
        if isinstance(part, Name)
    }
    writer = Writer(symbols(names))
    rows = [[writer.row(equation) for equation in part] for part in (derivation.forward, derivation.backward)]
    body = " \\\\\n".join(" \\\\\n".join(part) for part in rows if part)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def symbols(names: Iterable[str]) -> dict[str, str]:
    """The symbol of each name: its last part, with the shortest path as its index that no other name has."""
    paths = {name: name.split(".") for name in names}
    result = {}
    for name, path in paths.items():
        last = path[-1]
        rivals = [other for other in paths.values() if other[-1] == last and other is not path]
        count = 0
        while any(other[-1 - count : -1] == path[-1 - count : -1] for other in rivals) and count < len(path) - 1:
            count += 1
        if len(path) > 1 and len(last) == 1:
            count = max(count, 1)  # W alone says too little
        index = ", ".join(rf"\mathrm{{{_plain(part)}}}" for part in path[len(path) - 1 - count : -1])
        result[name] = _symbol(last, index)
    return result


def _symbol(text: str, index: str) -> str:
    match = re.fullmatch(r"([A-Za-z])(\d*)(?:_(\w+))?", text)
    base, digits, after = match.groups("") if match else (rf"\mathrm{{{_plain(text)}}}", "", "")
    after = after if after.isdigit() or not after else rf"\mathrm{{{_plain(after)}}}"
    indices = ", ".join(filter(None, (digits, after, index)))
    return f"{base}_{{{indices}}}" if indices else base


def _plain(text: str) -> str:
    """A name as text in a formula."""
    return "".join(_SPECIAL.get(c, rf"\{c}" if c in "_%$#&" else c) for c in text)


class Writer:
    """Writes formulas with these symbols for names."""

    def __init__(self, symbol_of: Mapping[str, str]) -> None:
        self.symbol_of = symbol_of

    def row(self, equation: Equation) -> str:
        """One row of the environment, with the line of the file at its end; before it that of a loop that it opens."""
        line = rf" && \text{{line {equation.line}}}" if equation.line else ""
        row = f"  {self.text(equation.left)} &= {self.text(equation.right)}{line}"
        return row if equation.opens is None else f"{self._loop(equation.opens)} \\\\\n{row}"

    def _loop(self, loop: Loop) -> str:
        begins = ", ".join(f"{self.text(name)} = {self.text(begin)}" for name, begin in loop.starts)
        start = rf"\text{{; before it, }} {begins}" if begins else ""
        return rf"  & \text{{for each step }} t \text{{ of {_plain(loop.dim)}, {loop.direction}}}{start}"

    def text(self, formula: Formula, binding: int = SUM) -> str:
        """A formula, in parentheses beside an operator that binds more strongly."""
        text, precedence = self._written(formula)
        return _bracketed(text) if precedence < binding else text

    def _written(self, formula: Formula) -> tuple[str, int]:
        match formula:
            case Name():
                return self._name(formula), ATOM
            case Call():
                return self._call(formula)
            case MatrixProduct(left, right):
                return rf"{self.text(left, SIGN)} \, {self.text(right, SIGN)}", PRODUCT
            case Transpose(inner):
                return rf"{self.text(inner, ATOM)}^{{\top}}", POWER
            case Condition(sign, left, right):
                return rf"\left[ {self.text(left)} {_SIGNS.get(sign, sign)} {self.text(right)} \right]", ATOM
            case Element(Name(step=None, is_derivative=False) as name, Name() as at):
                return rf"{{{self.text(name)}}}_{{{self.text(at)}}}", ATOM
            case Element(inner, at):
                index = at.replace("..", r" \ldots ") if isinstance(at, str) else self.text(at)
                return rf"{{{self.text(inner, ATOM)}}}_{{\left[ {index} \right]}}", ATOM
            case Sum((term,)):
                return self._term(term)
            case Sum((first, *_)):
                rest = (f" {sign} {self.text(addend, PRODUCT)}" for sign, addend in formula.addends)
                return self.text(Sum((first,))) + "".join(rest), SUM
        raise AssertionError(formula)

    def _name(self, name: Name) -> str:
        symbol = self.symbol_of.get(name.text, _symbol(name.text, ""))
        if name.step is not None:
            symbol = f"{symbol}^{{({_STEPS[name.step]})}}"
        return rf"\frac{{\partial L}}{{\partial {symbol}}}" if name.is_derivative else _loss(name.text, symbol)

    def _call(self, call: Call) -> tuple[str, int]:
        inner = call.arguments[0] if len(call.arguments) == 1 else None
        if inner is not None:
            match call.function:
                case "sqrt":
                    return rf"\sqrt{{{self.text(inner)}}}", ATOM
                case "rsqrt":
                    return rf"\frac{{1}}{{\sqrt{{{self.text(inner)}}}}}", ATOM
                case "abs":
                    return rf"\left| {self.text(inner)} \right|", ATOM
                case "exp":
                    return rf"e^{{{self.text(inner)}}}", POWER
                case "sum":
                    return rf"\sum{self._below(call.over)} {self.text(inner, PRODUCT)}", PRODUCT
                case "mean" if len(call.over) == 1 and not call.over[0].isdigit():
                    count = rf"\mathrm{{{_plain(call.over[0])}}}"
                    return rf"\frac{{1}}{{{count}}} \sum{self._below(call.over)} {self.text(inner, PRODUCT)}", PRODUCT
                case "mean":
                    return rf"\operatorname{{mean}}{self._below(call.over)} {self.text(inner, ATOM)}", PRODUCT
        command = "mathrm" if "_" in call.function else "operatorname"  # converters read no underscore in an operator
        function = _FUNCTIONS.get(call.function, rf"\{command}{{{_plain(call.function)}}}")
        function = r"\sigma" if call.function == "sigmoid" else function
        return f"{function}{self._below(call.over)} {_bracketed(', '.join(map(self.text, call.arguments)))}", ATOM

    def _below(self, over: Sequence[str]) -> str:
        """The axes below a sign."""
        words = ", ".join(axis if axis.isdigit() else rf"\mathrm{{{_plain(axis)}}}" for axis in over)
        return f"_{{{words}}}" if over else ""

    def _term(self, term: Term) -> tuple[str, int]:
        """A product, with a fraction line where something divides it."""
        above = self._product(abs(term.number), [(f, n) for f, n in term.factors if n > 0], is_negative=term.number < 0)
        below = self._product(term.divisor, [(f, -n) for f, n in term.factors if n < 0])
        is_fraction = below != "1"
        text = rf"\frac{{{above}}}{{{below}}}" if is_fraction else above
        return (f"-{text}", SIGN) if term.number < 0 else (text, PRODUCT)

    def _product(self, size: float, factors: Sequence[tuple[Formula, int]], is_negative: bool = False) -> str:
        is_alone = size == 1 and len(factors) == 1 and not is_negative
        text = "" if size == 1 and factors else _number(size)
        was_scalar = True
        for i, (factor, exponent) in enumerate(factors):
            is_open = isinstance(factor, Call) and factor.function in ("sum", "mean") and i == len(factors) - 1
            power = self._power(factor, exponent, SUM if is_alone else PRODUCT if is_open else SIGN)
            is_scalar = isinstance(factor, Name) and factor.is_scalar
            sign = r" \, " if was_scalar or is_scalar else r" \odot "
            text = power if not text else f"{text}{sign if i or text else ''}{power}"
            was_scalar = is_scalar
        return text

    def _power(self, factor: Formula, exponent: int, binding: int) -> str:
        if exponent == 1:
            return self.text(factor, binding)
        base = self.text(factor, ATOM)
        is_raised = isinstance(factor, Name) and (factor.is_derivative or factor.step is not None)
        return f"{_bracketed(base) if is_raised else base}^{{{exponent}}}"


def _loss(name: str, symbol: str) -> str:
    return "L" if name == "loss" else symbol


def _number(value: float) -> str:
    mantissa, _, exponent = f"{value:g}".partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def _bracketed(text: str) -> str:
    return rf"\left( {text} \right)"
