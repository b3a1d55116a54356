"""`replace` for objects of classes that derive from `msgspec.Struct`, as nearly all of netc's records do."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # for mypy the function of the standard library: it then checks the names and types of the changes
    from dataclasses import replace
else:
    from msgspec.structs import replace

__all__ = ["replace"]
