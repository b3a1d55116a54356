"""The names that a column may not have in a file that `netc new` writes."""

from netc.compiler.elaborate.forms.table import FORMS
from netc.compiler.elaborate.library import library_names
from netc.compiler.elaborate.option_words import BORDERS
from netc.compiler.ir.value import OPERATIONS
from netc.dsl.keywords import KEYWORDS

_FIELDS = ("source", "split", "series", "numbers", "before", "calendar", "which")  # that the file may have besides
_VALUES = ("hidden", "logits", "estimate", "probability", "prediction")
_WORDS = (*BORDERS, "true", "false", "training", "batch")


def taken_names() -> set[str]:
    """Names that mean something in a model already: `size(size)` would apply a column."""
    return {*KEYWORDS, *OPERATIONS, *FORMS, *library_names(), *_FIELDS, *_VALUES, *_WORDS}
