"""An addition to griffe, which reads signatures for the reference: constructors of classes that derive from Struct."""

from typing import Any

import griffe


class Structs(griffe.Extension):
    """Lets griffe treat such a class as a dataclass, whose constructor it knows: the fields in their order."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        if not any(str(base) in ("Struct", "msgspec.Struct") for base in cls.bases):
            return
        cls.decorators.append(griffe.Decorator(griffe.ExprName("dataclasses.dataclass"), lineno=None, endlineno=None))
        for attribute in cls.attributes.values():
            if isinstance(attribute.value, griffe.ExprCall) and str(attribute.value.function) == "field":
                attribute.value.function = griffe.ExprName("dataclasses.field")
