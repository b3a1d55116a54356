"""Equations as lines of text, in the notation of the language."""

from netc.compiler.analysis.equations.derivation import Derivation
from netc.compiler.analysis.equations.equation import Loop
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

_STEPS = {0: "[t]", 1: "[t+1]", -1: "[t-1]"}


def text_of(formula: Formula, binding: int = SUM) -> str:
    """A formula as text, in parentheses beside an operator that binds more strongly."""
    text, precedence = _written(formula)
    return f"({text})" if precedence < binding else text


def _written(formula: Formula) -> tuple[str, int]:
    match formula:
        case Name(text, is_derivative, _, step):
            return f"{'∂' if is_derivative else ''}{text}{'' if step is None else _STEPS[step]}", ATOM
        case Call(function, arguments, over):
            return f"{function}({', '.join([*map(text_of, arguments), *_over(over)])})", ATOM
        case MatrixProduct(left, right):
            return f"{text_of(left, SIGN)} @ {text_of(right, SIGN)}", PRODUCT
        case Transpose(inner):
            return f"transpose({text_of(inner)})", ATOM
        case Condition(sign, left, right):
            return f"[{text_of(left)} {sign} {text_of(right)}]", ATOM
        case Element(inner, at):
            return f"{text_of(inner, ATOM)}[{at if isinstance(at, str) else text_of(at)}]", ATOM
        case Sum((term,)):
            return _term(term)
        case Sum((first, *_)):
            rest = (f" {sign} {text_of(addend, PRODUCT)}" for sign, addend in formula.addends)
            return text_of(Sum((first,))) + "".join(rest), SUM
    raise AssertionError(formula)


def _over(axes: tuple[str, ...]) -> list[str]:
    if not axes:
        return []
    return [f"over = {axes[0] if len(axes) == 1 else '(' + ', '.join(axes) + ')'}"]


def _term(term: Term) -> tuple[str, int]:
    """A product as `-2 * x * y ** 2 / batch`."""
    above = [_power(factor, exponent) for factor, exponent in term.factors if exponent > 0]
    below = [_power(factor, -exponent) for factor, exponent in term.factors if exponent < 0]
    if term.divisor != 1:
        below.insert(0, (f"{term.divisor:g}", ATOM))
    size = abs(term.number)
    if size != 1 or not above:
        above.insert(0, (f"{size:g}", ATOM))
    text = _joined(above, is_alone=len(above) == 1 and not below and term.number > 0)
    if below:
        divisor = _joined(below, is_alone=False)
        text = f"{text} / {divisor if len(below) == 1 else f'({divisor})'}"
    precedence = PRODUCT if len(above) > 1 or below else above[0][1]
    return (f"-{text}", SIGN if precedence >= PRODUCT else precedence) if term.number < 0 else (text, precedence)


def _power(factor: Formula, exponent: int) -> tuple[str, int]:
    if exponent == 1:
        return _written(factor)
    return f"{text_of(factor, ATOM)} ** {exponent}", POWER


def _joined(parts: list[tuple[str, int]], is_alone: bool) -> str:
    """Factors with `*` between them; a matrix product among others is in parentheses."""
    return " * ".join(text if is_alone or precedence > PRODUCT else f"({text})" for text, precedence in parts)


def heading(loop: Loop) -> str:
    """The words before the equations of one step."""
    begins = [f"{text_of(name)} = {text_of(formula)}" for name, formula in loop.starts]
    start = f"; before it, {', '.join(begins)}" if begins else ""
    return f"for each step t of {loop.dim}, {loop.direction}{start}"


_NOTATION = {
    "onehot": "onehot(y): 1 for the class y, 0 for the others",
    "unpool": "unpool(g, place): g at the places of the maxima, 0 elsewhere",
    "conv2d_weights": "conv2d_weights(x, g): the derivative of conv2d(x, W) by W, where g is that by the result",
    "conv2d_input": "conv2d_input(g, W): the derivative of conv2d(x, W) by x, where g is that by the result",
    "conv2d": "conv2d(x, W): each window of x times the weights W, summed",
    "mean": "mean(x), sum(x): over all numbers of a sample, unless `over` says otherwise",
    "logsumexp": "logsumexp(x): log(sum(exp(x)))",
    "softmax": "softmax(x): exp(x) / sum(exp(x))",
    "sigmoid": "sigmoid(x): 1 / (1 + exp(-x))",
    "softplus": "softplus(x): log(1 + exp(x))",
    "rsqrt": "rsqrt(x): 1 / sqrt(x)",
    "concat": "concat(x, y): x and y side by side",
    "reverse": "reverse(x): the steps of x from the last to the first",
    "last": "last(x): the last step of x",
    "at_last": "at_last(x): x at the last step, 0 at the others",
    "first": "first(x): the first step of x",
    "at_first": "at_first(x): x at the first step, 0 at the others",
    "earlier": "earlier(x): x[t-1] at each step t",
    "later": "later(x): x[t+1] at each step t",
    "gather": "gather(x, i): the rows i of x",
    "scatter_add": "scatter_add(x, i): each row of x added to the row i of the result",
}


def notation(derivation: Derivation) -> list[str]:
    """A line for each sign and function in the equations that a reader may not know."""
    formulas = [equation.right for equation in (*derivation.forward, *derivation.backward)]
    parts = list(everywhere(formulas))
    lines = ["∂h: the derivative of the loss with respect to h"]
    if any(isinstance(part, MatrixProduct) for part in parts):
        lines.append("x @ W: a product of matrices; x * y: element by element")
    if any(isinstance(part, Condition) for part in parts):
        lines.append("[c]: 1 where c is true, else 0")
    if any(isinstance(part, Element) and not isinstance(part.at, str) for part in parts):
        lines.append("x[y]: the number of x for the class y")
    if any(isinstance(part, Call) and part.function in ("sum", "mean") and not part.over for part in parts):
        lines.append(_NOTATION["mean"])
    if any(isinstance(part, Name) and part.step == 1 for part in parts):
        lines.append("∂h[t+1]: the derivative at the next step, 0 at the last one")
    if any(isinstance(part, Name) and part.is_derivative and part.text.endswith("_out") for part in parts):
        lines.append("∂h_out: the derivative with respect to h of what reads it after the steps")
    functions = dict.fromkeys(part.function for part in parts if isinstance(part, Call))
    return lines + [line for name, line in _NOTATION.items() if name in functions and name != "mean"]
