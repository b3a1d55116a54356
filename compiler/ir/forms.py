"""The forms of kernels that operations declare, besides element-wise expressions, folds and views.

compiler/lowering/ has a function for each form, registered with `lowers` (lowering/forms.py).
"""

from enum import Enum


class Form(Enum):
    """The form of a kernel, and what the kernel does."""

    CONTRACTION = "sums products of two operands"
    ARGMAX = "finds the index of the largest element along an axis"
    RUNNING_SUM = "adds up the elements along an axis and stores each sum so far"
    CONCAT = "writes its operands side by side"
    PAD = "writes its operand with padding around it"
    INTERLEAVE = "writes its operands into every second, third, ... row and column of an image"
    GATHER = "reads the rows of a table that an index names"
    SCATTER = "combines rows at the places that an index names"
    FIRST_EQUAL = "finds the first of equal elements of an index"
    PUT = "replaces the rows of a table that an index names"
    TO_STEPS = "packs sequences of a fixed length as rows"
    FROM_STEPS = "unpacks rows as sequences of a fixed length"
    SCAN = "runs a body once a step"
    EXTENT = "counts the elements of dimensions"
    ATTENTION = "sums values by the softmax of scores, block by block"
    ATTENTION_SUMS = "is computed by the kernel of its attention"
    ATTENTION_GRADIENT = "computes the gradients of attention, block by block"
    CUSTOM = "runs a function of the user, sample by sample"
