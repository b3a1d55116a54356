"""Fields as a Python program passes them: checked against the model's declarations, and made arrays or sequences.

What a data file gives is checked where it is read, and does not come here.
"""

from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from netc.compiler.ir.types import DTYPES, Type, describe_sample
from netc.compiler.model import Model
from netc.dsl.diagnostics import nearest, nearest_name
from netc.dsl.source import Span
from netc.runtime.arguments import kind_of, refuse
from netc.runtime.data.stored import Array, Bytes, Ragged
from netc.runtime.execution.fields import FieldTypes

_NUMBERS = "biuf"  # kinds of arrays of NumPy
_KINDS = {"U": "texts", "S": "texts", "c": "complex numbers", "M": "dates", "m": "times"}


class PassedFields:
    """Checks the fields that a Python program passes to one model. Several threads may use one."""

    def __init__(self, types: FieldTypes) -> None:
        self._types = types
        self._passed: dict[str, _Passed] = {}  # by name, each from its first check on

    def checked(self, fields: object) -> dict[str, Any]:
        """The fields as arrays and sequences, by name.

        Raises TypeError for anything that is not a mapping of names, and ArgumentFault, a ValueError, for a name that
        the model does not have (E0201) and for a field whose values or shape do not fit its declared type (E0803, E0804
        or E0805).
        """
        if not (hasattr(fields, "keys") and hasattr(fields, "__getitem__")):  # a DataFrame has columns by name
            example = next(iter(self._types.model.inputs), "x")
            raise TypeError(f'fields are arrays by name, such as {{"{example}": ...}}, not {kind_of(fields)}')
        names = fields.keys()
        passed = {name: self._passed.get(name) or self._new(name) for name in names}
        return {name: field.checked(fields[name]) for name, field in passed.items()}

    def _new(self, name: object) -> "_Passed":
        types = self._types
        _require_name(types, name)
        assert isinstance(name, str)
        passed = self._passed[name] = _Passed(name, types.types[name], _span(types.model, name))
        return passed


def _require_name(types: FieldTypes, name: object) -> None:
    """Raises TypeError for what is not text, and ArgumentFault for a name that the model does not have."""
    if not isinstance(name, str):
        raise TypeError(f"fields are arrays by name, and {name!r} is {kind_of(name)}")
    if name in types.types:
        return
    model = types.model
    fields = [*model.inputs, *model.targets]
    match = nearest_name(name, types.types)
    span = _span(model, match or fields[0]) if fields else None
    refuse("E0201", f"the model has no field `{name}`", span, f"it has {', '.join(fields)}", nearest(name, types.types))


def _span(model: Model, name: str) -> Span:
    """The declaration of a field in the model, or the value that a caller replaces by it."""
    return model.declared[name] if name in model.declared else model.values[name].span


@lru_cache(64)
def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of whole numbers without a sign, of as many bytes in the same order."""
    return np.dtype(dtype.str.replace("i", "u"))


class _Passed:
    """One field, with its declared type and where it is declared."""

    def __init__(self, name: str, type_: Type, span: Span) -> None:
        self.name, self.type, self.span = name, type_, span
        self._is_varying, self._is_batched, self._sizes = type_.is_varying, type_.is_batched, type_.shape(1)[1:]

    def checked(self, field: Any) -> Any:
        if isinstance(field, Bytes):
            return field
        if self._is_varying:
            return self._sequences(field)
        array = self._array(field)
        if self._is_batched and (array.shape[1:] != self._sizes or not array.shape):
            self._refuse_shape(list(array.shape))
        return self._classes(array)

    def _sequences(self, field: Any) -> Ragged:
        if isinstance(field, Ragged):
            return field
        each = "a list with an array for each sample"
        if not hasattr(field, "__len__") or isinstance(field, str | Mapping | Set):
            self._refuse("E0804", f"`{self.name}` is {kind_of(field)}", each)
        if not len(field):
            self._refuse("E0804", f"`{self.name}` has no samples", each)
        arrays = [self._sequence(number, values, each) for number, values in enumerate(field)]
        return Ragged.of(arrays, DTYPES[self.type.dtype].numpy)

    def _sequence(self, number: int, values: Any, each: str) -> Array:
        """The steps of one sample."""
        array, sizes = self._array(values, number), self._sizes
        if not array.ndim:
            self._refuse("E0804", f"sample {number} of `{self.name}` is a number, and no sequence", each)
        if not len(array):
            self._refuse("E0804", f"sample {number} of `{self.name}` has no steps", "at least one")
        if array.shape[1:] != sizes:
            expected = f"[steps{''.join(f', {size}' for size in sizes)}]"
            self._refuse("E0804", f"sample {number} of `{self.name}` has the shape {list(array.shape)}", expected)
        return self._classes(array)

    def _array(self, values: Any, sample: int | None = None) -> Array:
        """Values as an array of numbers; with `sample` they are the steps of this sample."""
        if type(values) is np.ndarray and values.dtype.kind in _NUMBERS:  # without what follows a call is shorter
            return values
        where = "" if sample is None else f" of sample {sample}"
        if values is None:
            self._refuse("E0803", f"`{self.name}`{where} is None", "it is missing")
        if np.ma.is_masked(values):
            self._refuse(
                "E0803", f"`{self.name}`{where} has masked elements", "they are missing", "numpy.ma.filled(..., 0)"
            )
        try:
            array = np.asarray(values)
        except ValueError:
            self._refuse("E0804", f"the samples of `{self.name}`{where} have different shapes", "all have one shape")
        if array.dtype.kind == "O":
            is_text = array.size and all(isinstance(item, str) for item in array.flat)
            array = array.astype(str) if is_text else self._of_objects(array, where)
        if array.dtype.kind in _KINDS:
            hint = self._numbers_of_texts(array, where) if array.dtype.kind in "US" else None
            self._refuse("E0803", f"`{self.name}`{where} consists of {_KINDS[array.dtype.kind]}", "numbers", hint)
        return array

    def _numbers_of_texts(self, texts: Array, where: str) -> str | None:
        """A hint that says how texts become numbers, None if they are neither numbers nor names of classes."""
        try:
            texts.astype(np.float64)
        except ValueError:
            if self.type.classes is None or where:  # classes are not numbered for each sequence
                return None
            return "a label is the number of its class: numpy.unique(..., return_inverse=True)[1]"
        return "numbers: numpy.asarray(..., float)"

    def _of_objects(self, array: Array, where: str) -> Array:
        """An array of Python objects as one of numbers."""
        if not array.ndim:
            self._refuse("E0803", f"`{self.name}`{where} is {kind_of(array.item())}", "an array or a list")
        wrong = next((item for item in array.flat if isinstance(item, str | bytes) or item is None), 0)
        try:
            if wrong is None or isinstance(wrong, str | bytes):
                raise TypeError
            return array.astype(np.float64)
        except (TypeError, ValueError):
            odd = wrong if wrong != 0 else next(item for item in array.flat if not isinstance(item, int | float))
            self._refuse("E0803", f"`{self.name}`{where} contains {kind_of(odd)}", "numbers, in one array")

    def _classes(self, array: Array) -> Array:
        """Labels as they are, if each is the number of a class."""
        classes = self.type.classes
        if classes is None or not array.size:
            return array
        if array.dtype.kind in "iu" and np.maximum.reduce(array.view(_unsigned(array.dtype)), axis=None) < classes:
            return array  # a negative number is a large one without its sign
        is_wrong = (array < 0) | (array >= classes) | (array != np.floor(array))
        if is_wrong.any():
            value = array[is_wrong].flat[0]
            hint = f"labels are whole numbers from 0 to {classes - 1}"
            self._refuse("E0805", f"{value:g} in `{self.name}` is not a class of class({classes})", "", hint)
        return array

    def _refuse_shape(self, shape: list[int]) -> NoReturn:
        sizes = list(self._sizes)
        expected = f"[samples{''.join(f', {size}' for size in sizes)}]"
        hint = None
        if shape == sizes:
            hint = "one sample is a batch of one: numpy.asarray(...)[None]"
        elif shape[1:] == [*sizes, 1]:
            hint = "without the axis of size 1: numpy.asarray(...)[..., 0]"
        elif not sizes and len(shape) == 2 and shape[1] == self.type.classes:
            hint = "a label is the number of its class: numpy.argmax(..., 1)"
        elif [*shape[1:], 1] == sizes:
            hint = "with an axis of size 1: numpy.asarray(...)[..., None]"
        self._refuse("E0804", f"`{self.name}` has the shape {shape}, the model takes {expected}", "", hint)

    def _refuse(self, code: str, title: str, expected: str, hint: str | None = None) -> NoReturn:
        label = f"{describe_sample(self.type)}: {expected}" if expected else f"{describe_sample(self.type)} each"
        refuse(code, title, self.span, label, hint)
