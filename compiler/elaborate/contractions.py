"""Products of samples: `@` and `einsum`, in which the batch is an axis that both operands may have."""

from collections.abc import Sequence

from netc.compiler.ir.types import Dim, Mismatch
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations import bounded


def einsum(values: Sequence[Value], parts: Sequence[str], out: str) -> Value:
    """The sum of products over the axes that `out` does not name. Raises Mismatch if the letters do not fit the values.

    `parts` has a text for each value, whose letters name the axes of a sample. Values are multiplied from left to
    right.
    """
    _check_names(values, parts, out)
    _check_letters(values, parts)
    rows = {letters[0] for value, letters in zip(values, parts, strict=True) if value.type.is_varying}
    is_by_row = bool(rows) and rows == set(out[:1]) and not any(value.type.lead for value in values)
    if rows and not is_by_row:
        values = [bounded.hold(value) for value in values]
    values = _without_beyond(values, parts, out)
    left, letters = values[0], parts[0]
    for i, right in enumerate(values[1:], 1):
        later = out + "".join(parts[i + 1 :])
        kept = "".join(dict.fromkeys(letter for letter in letters + parts[i] if letter in later))
        if is_by_row and out[0] in kept:  # the rows come first in every value that has them
            kept = out[0] + kept.replace(out[0], "")
        kept = out if i == len(values) - 1 else kept
        marked = ["#" * value.type.lead + subscript for value, subscript in ((left, letters), (right, parts[i]))]
        batch = "#" if "#" in "".join(marked) else ""
        subscripts = f"{marked[0]},{marked[1]}->{batch}{kept}".replace("#", _free_letter("".join(parts)))
        left, letters = apply("einsum", left, right, subscripts=subscripts), kept
    return _with_axes(left, letters, out)


def _with_axes(value: Value, letters: str, out: str) -> Value:
    """A value with its axes in the order of `out`, summed over the others."""
    lead = value.type.lead
    summed = tuple(i + lead for i, letter in enumerate(letters) if letter not in out)
    letters = "".join(letter for letter in letters if letter in out)
    value = apply("sum", value, over=summed) if summed else value
    order = (*range(lead), *(letters.index(letter) + lead for letter in out))
    return value if order == tuple(range(value.type.rank)) else apply("transpose", value, order=order)


def _check_names(values: Sequence[Value], parts: Sequence[str], out: str) -> None:
    """Raises Mismatch unless each axis of a float value has one letter, and `out` names axes once."""
    for value, letters in zip(values, parts, strict=True):
        if not value.type.is_float:
            raise Mismatch("a product needs floats", code="E0402")
        if len(letters) != len(value.type.sample) or len(set(letters)) != len(letters):
            raise Mismatch(
                f"`{letters}` names {len(letters)} axes, the value has {len(value.type.sample)}; each is named once",
                "the batch has no letter" if len(letters) == len(value.type.sample) + 1 else None,
            )
    if unknown := set(out) - set("".join(parts)):
        raise Mismatch(f"no value has the axis `{min(unknown)}` of the result")
    if len(set(out)) != len(out):
        raise Mismatch("an axis of the result is named twice")


def _check_letters(values: Sequence[Value], parts: Sequence[str]) -> None:
    """Raises Mismatch if one letter stands for two dimensions."""
    sizes: dict[str, Dim] = {}
    for value, letters in zip(values, parts, strict=True):
        for letter, dim in zip(letters, value.type.sample, strict=True):
            if sizes.setdefault(letter, dim) != dim:
                code = "E0406" if isinstance(dim, str) and isinstance(sizes[letter], str) else "E0401"
                raise Mismatch(f"the axis `{letter}` is {sizes[letter]} and {dim}", code=code)


def _without_beyond(values: Sequence[Value], parts: Sequence[str], out: str) -> list[Value]:
    """The operands of a product: for each axis that is summed over, one of them has zeros beyond a sample's end."""
    result, done = list(values), set(out)
    for i, letters in enumerate(parts):
        lead = values[i].type.lead
        axes = [n + lead for n, letter in enumerate(letters) if letter not in done]
        result[i] = bounded.without_beyond(result[i], tuple(axes)) if lead else result[i]
        done |= set(letters)
    return result


def matmul(x: Value, y: Value) -> Value:
    """x[..., n, k] @ y[..., k, m] of each sample; row by row if x has steps and y does not depend on data.

    Raises Mismatch if the shapes do not fit.
    """
    if not x.type.sample or not y.type.sample:
        raise Mismatch("`@` needs at least a vector on each side", "a number multiplies with `*`")
    depth, column = x.type.sample[-1], y.type.sample[0 if len(y.type.sample) == 1 else -2]
    if depth != column:
        raise Mismatch(f"`@` multiplies rows of {depth} with columns of {column}")
    if y.type.is_batched or depth == x.type.rows:
        x, y = bounded.hold(x), bounded.hold(y)
        y = bounded.without_beyond(y, (y.type.lead if len(y.type.sample) == 1 else y.type.rank - 2,))
    return apply("matmul", x, y)


def _free_letter(used: str) -> str:
    """A letter for the batch that names no other axis."""
    return next(letter for letter in "BACDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in used)
