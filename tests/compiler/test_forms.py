"""The table of forms: each form of kernel that an operation declares is lowered by exactly one function."""

import pytest

from netc.compiler import operations  # noqa: F401  registers the operations
from netc.compiler.ir.forms import Custom, Form, Scatter, SpecialForm
from netc.compiler.ir.value import OPERATIONS
from netc.compiler.lowering import lower  # noqa: F401  registers the forms
from netc.compiler.lowering.forms import LOWERED, lowers


def test_each_form_is_lowered() -> None:
    assert LOWERED.keys() == set(Form)


def test_each_form_is_declared_by_an_operation() -> None:
    rules = [operation.lower for operation in OPERATIONS.values()]
    declared = {rule.form for rule in rules if isinstance(rule, SpecialForm | Scatter)}
    assert declared | {Custom.form} == set(Form), "only operations of plug-ins have custom kernels"


def test_a_form_is_registered_once() -> None:
    with pytest.raises(ValueError, match=r"Form\.CONCAT is lowered by concat already"):
        lowers(Form.CONCAT)(LOWERED[Form.PAD])
