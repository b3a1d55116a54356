"""Custom kernels: a plain Python function over the arrays of one sample.

    def total_variation(out, x):
        out[0] = 0.0
        for i in range(len(x) - 1):
            out[0] += abs(x[i + 1] - x[i])

The first argument is the result, then come the operands, then attributes by name. An array is read and written
element by element (`x[i, j]`; `x[()]` for a scalar), and its sizes are `len(x)` and `x.shape[k]`. The functions are
those of `math` that kernels have (`math.exp`, `math.tanh`, ...). This module reads such a function, and writes none.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence


def definition(function: Callable[..., None]) -> ast.FunctionDef:
    """Returns the parsed text of a custom kernel. Raises ValueError if it cannot be read or is not a function."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError) as error:
        raise ValueError(f"the text of the kernel cannot be read: {error}") from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            return node
    raise ValueError("a kernel is a function of its own: def kernel(out, x): ...")


def reads_result_first(function: Callable[..., None]) -> bool:
    """Whether a custom kernel reads an element of its result before its text has stored any."""
    node = definition(function)
    result = node.args.args[0].arg if node.args.args else ""
    for statement in _in_order(node.body):
        if isinstance(statement, ast.AugAssign) and _is_element(statement.target, result):
            return True
        elements = [part for part in ast.walk(statement) if _is_element(part, result)]
        if any(isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Load) for part in elements):
            return True
        if elements:
            return False
    return False


def _is_element(node: ast.AST, array: str) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == array


def _in_order(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """Yields the statements and the heads of loops and branches, in the order in which they first run."""
    for statement in body:
        match statement:
            case ast.For(iter=head, body=inside) | ast.While(test=head, body=inside):
                yield head
                yield from _in_order(inside)
            case ast.If(test=head, body=inside, orelse=other):
                yield head
                yield from _in_order([*inside, *other])
            case _:
                yield statement
