"""The table of forms: for each form of kernel that an operation can declare, the function that lowers it.

A module of a family of forms registers its functions with `lowers`; lower.py imports all of these modules.
"""

from collections.abc import Callable

from netc.compiler.ir.forms import Form
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering

LowerForm = Callable[[Lowering, Value], None]

LOWERED: dict[Form, LowerForm] = {}


def lowers(form: Form) -> Callable[[LowerForm], LowerForm]:
    """Registers a function that adds the tasks of a value whose operation declares `form`.

    Raises ValueError if the form has a function already.
    """

    def register(function: LowerForm) -> LowerForm:
        if form in LOWERED:
            raise ValueError(f"{form} is lowered by {LOWERED[form].__name__} already")
        LOWERED[form] = function
        return function

    return register
