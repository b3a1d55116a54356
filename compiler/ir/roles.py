"""The roles of values that passes treat specially: the kind of a leaf, or the role that an operation declares.

Most operations have no role.
"""

from enum import Enum


class Role(Enum):
    """The kinds of leaves, by their printed names, followed by the roles of operations."""

    INPUT = "input"
    TARGET = "target"
    PARAMETER = "parameter"
    STATE = "state"
    GIVEN = "given"  # computed by the runtime; in the body of a scan, a value from outside
    CONSTANT = "constant"
    TRAINING = "training"

    SCAN = "a body that runs once a step"
    PART = "a result of a scan"
    CONTRACTION = "a sum over products of two operands"
    RANDOM = "random numbers"
    DERIVATIVE = "a derivative that is not yet written out"
    RANGE = "0, 1, 2, ..., which is stored nowhere"
    EXTENT = "how many elements dimensions hold"
    SHAPE = "the same elements in another shape"
    ASSEMBLY = "operands put side by side, each computed into its place"


LEAVES = {role.value: role for role in list(Role)[: list(Role).index(Role.SCAN)]}
