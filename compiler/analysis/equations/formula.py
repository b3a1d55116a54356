"""Formulas as a textbook has them: names, numbers, sums, products and functions, with the algebra that tidies them.

A sum collects equal terms and takes out common factors, a product collects powers of equal factors. So the algebra
turns `-(1 / batch) * y + 1 / batch * p` into `(p - y) / batch` whatever p and y are. Knows no graph.
"""

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from netc.dsl.structs import replace

SUM, PRODUCT, SIGN, POWER, ATOM = range(5)  # how strongly a written formula binds


class Name(Struct, frozen=True):
    """A named value, or the derivative of the loss with respect to it.

    `step` is where it is read in a sequence, relative to the current step; None for the whole value.
    """

    text: str
    is_derivative: bool = False
    is_scalar: bool = False
    step: int | None = None


class Call(Struct, frozen=True):
    """A function of formulas; `over` are the axes that it runs along, as words."""

    function: str
    arguments: tuple["Formula", ...]
    over: tuple[str, ...] = ()


class MatrixProduct(Struct, frozen=True):
    """`left @ right`."""

    left: "Formula"
    right: "Formula"


class Transpose(Struct, frozen=True):
    """A matrix with rows and columns exchanged."""

    inner: "Formula"


class Condition(Struct, frozen=True):
    """A comparison as a number: 1 where it is true, else 0 (Iverson's bracket)."""

    sign: str
    left: "Formula"
    right: "Formula"


class Element(Struct, frozen=True):
    """A part of a value: the element of a class, or a range of positions."""

    inner: "Formula"
    at: "Formula | str"


class Term(Struct, frozen=True):
    """`number / divisor` times the product of `factors` with their exponents, of which none is 0."""

    number: float = 1.0
    divisor: float = 1.0
    factors: tuple[tuple["Formula", int], ...] = ()


class Sum(Struct, frozen=True):
    """Two terms or more, or one that is not a bare factor."""

    terms: tuple[Term, ...]

    @property
    def addends(self) -> Iterator[tuple[str, "Sum"]]:
        """The terms behind the first one: the sign before each, and the term without it."""
        for term in self.terms[1:]:
            yield "-" if term.number < 0 else "+", Sum((replace(term, number=abs(term.number)),))


Formula = Name | Call | MatrixProduct | Transpose | Condition | Element | Sum


def number(value: float) -> Formula:
    """A formula for a number."""
    return Sum((Term(float(value)),))


def plus(*formulas: Formula) -> Formula:
    """The sum of formulas: equal terms are collected, common factors are taken out."""
    collected: dict[tuple[float, tuple[tuple[Formula, int], ...]], float] = {}
    for formula in formulas:
        for term in _terms(formula):
            key = (term.divisor, term.factors)
            collected[key] = collected.get(key, 0.0) + term.number
    terms = [Term(value, divisor, factors) for (divisor, factors), value in collected.items() if value != 0]
    if len(terms) < 2:
        return _single(terms[0] if terms else Term(0.0))
    common, rest = _without_common(terms)
    first = next((i for i, term in enumerate(rest) if term.number > 0), 0)  # a sum does not open with a minus
    inner = Sum((rest[first], *rest[:first], *rest[first + 1 :]))
    return inner if common == Term() else _single(_multiplied(common, Term(factors=((inner, 1),))))


def negative(formula: Formula) -> Formula:
    """`-formula`."""
    if isinstance(formula, Sum) and len(formula.terms) > 1:
        return plus(*(_single(Term(-term.number, term.divisor, term.factors)) for term in formula.terms))
    return times(number(-1), formula)


def times(*formulas: Formula) -> Formula:
    """The product of formulas: powers of equal factors and numbers are collected."""
    product = Term()
    for formula in formulas:
        product = _multiplied(product, _as_factor(formula))
    return _single(product)


def divided(formula: Formula, by: Formula) -> Formula:
    """`formula / by`."""
    term = _as_factor(by)
    factors = tuple((factor, -exponent) for factor, exponent in term.factors)
    return _single(_multiplied(_as_factor(formula), Term(term.divisor, term.number, factors)))


def powered(formula: Formula, exponent: int) -> Formula:
    """`formula ** exponent`, for a whole number other than 0."""
    term = _as_factor(formula)
    factors = tuple((factor, power * exponent) for factor, power in term.factors)
    return _single(Term(term.number**exponent, term.divisor**exponent, factors))


def linear(function: str, formula: Formula, over: tuple[str, ...]) -> Formula:
    """A `sum` or `mean` of a formula, with its number in front."""
    term = _as_factor(formula)
    if not term.factors:
        return Call(function, (formula,), over)
    inner = Call(function, (_single(Term(factors=term.factors)),), over)
    return _single(Term(term.number, term.divisor, ((inner, 1),)))


def parts_of(formula: Formula) -> list[Formula]:
    """The formulas directly inside a formula."""
    match formula:
        case Call():
            return list(formula.arguments)
        case MatrixProduct() | Condition():
            return [formula.left, formula.right]
        case Transpose():
            return [formula.inner]
        case Element():
            return [formula.inner] if isinstance(formula.at, str) else [formula.inner, formula.at]
        case Sum():
            return [factor for term in formula.terms for factor, _ in term.factors]
    return []


def rewritten(formula: Formula, rule: Callable[[Formula], Formula]) -> Formula:
    """The formula with every part replaced as `rule` says, from the inside out, and tidied again."""

    def inner(part: Formula) -> Formula:
        return rewritten(part, rule)

    match formula:
        case Call():
            return rule(Call(formula.function, tuple(map(inner, formula.arguments)), formula.over))
        case MatrixProduct():
            return rule(MatrixProduct(inner(formula.left), inner(formula.right)))
        case Condition():
            return rule(Condition(formula.sign, inner(formula.left), inner(formula.right)))
        case Transpose():
            return rule(Transpose(inner(formula.inner)))
        case Element():
            at = formula.at if isinstance(formula.at, str) else inner(formula.at)
            return rule(Element(inner(formula.inner), at))
        case Sum():
            terms = [
                times(
                    divided(number(term.number), number(term.divisor)),
                    *(powered(inner(factor), exponent) for factor, exponent in term.factors),
                )
                for term in formula.terms
            ]
            return plus(*terms) if len(terms) > 1 else terms[0]
    return rule(formula)


def everywhere(formulas: Iterable[Formula]) -> Iterable[Formula]:
    """The formulas and all that is inside them."""
    pending = list(formulas)
    while pending:
        formula = pending.pop()
        yield formula
        pending.extend(parts_of(formula))


def _terms(formula: Formula) -> tuple[Term, ...]:
    """The terms of a formula as a sum; `-(a - b)` is multiplied out."""
    if not isinstance(formula, Sum):
        return (Term(factors=((formula, 1),)),)
    match formula.terms:
        case (Term(value, divisor, ((Sum() as inner, 1),)),) if abs(value) == divisor == 1:
            return tuple(Term(value * term.number, divisor * term.divisor, term.factors) for term in inner.terms)
    return formula.terms


def _as_factor(formula: Formula) -> Term:
    """A formula as a product; a sum of several terms is one factor."""
    if isinstance(formula, Sum) and len(formula.terms) == 1:
        return formula.terms[0]
    return Term(factors=((formula, 1),))


def _single(term: Term) -> Formula:
    """A formula of one term; a bare factor stands for itself."""
    match term:
        case Term(1.0, 1.0, ((factor, 1),)):
            return factor
    return Sum((term,))


def _multiplied(left: Term, right: Term) -> Term:
    exponents = dict(left.factors)
    for factor, exponent in right.factors:
        exponents[factor] = exponents.get(factor, 0) + exponent
    value, divisor = left.number * right.number, left.divisor * right.divisor
    if divisor < 0:
        value, divisor = -value, -divisor
    if divisor != 1 and value % divisor == 0:
        value, divisor = value / divisor, 1.0
    factors = tuple((factor, exponent) for factor, exponent in exponents.items() if exponent)
    return Term(value, divisor, factors) if value != 0 else Term(0.0)


def _without_common(terms: list[Term]) -> tuple[Term, list[Term]]:
    """The factors that all terms share, and the terms without them."""
    shared = dict(terms[0].factors)
    for term in terms[1:]:
        exponents = dict(term.factors)
        shared = {
            factor: min(exponent, exponents[factor], key=abs)
            for factor, exponent in shared.items()
            if factor in exponents and (exponents[factor] > 0) == (exponent > 0)
        }
    divisor = terms[0].divisor if len({term.divisor for term in terms}) == 1 else 1.0
    sizes = {abs(term.number) for term in terms}
    value = sizes.pop() if len(sizes) == 1 else 1.0
    if all(term.number < 0 for term in terms):
        value = -value
    common = Term(value, divisor, tuple(shared.items()))
    rest = [
        Term(
            term.number / value,
            term.divisor / divisor,
            tuple(
                (factor, exponent - shared.get(factor, 0))
                for factor, exponent in term.factors
                if exponent != shared.get(factor, 0)
            ),
        )
        for term in terms
    ]
    return common, rest
