"""Graph -> tasks: which kernel computes which values, from which buffers, and along which axis it can be shared out.

Later, phases.py puts the tasks into phases, and plan.py gives every buffer its address.
"""

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import Sizes
from netc.compiler.lowering import (  # noqa: F401  each registers the forms that it lowers
    argmax,
    assembly,
    attention,
    contractions,
    custom,
    extent,
    gather,
    running,
    scans,
    sequences,
    touched,
)
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.walk import lower_graph
from netc.compiler.passes.scans import in_ranks
from netc.compiler.program.tasks import Tasks
from netc.compiler.targets.machine import Machine


def lower(graph: Graph, sizes: Sizes, machine: Machine) -> Tasks:
    """Returns the tasks of a simplified graph for a machine.

    Operations that are built of others must have been expanded. `sizes` are the most samples of a step, and the most
    rows of each varying dimension.
    """
    return lower_graph(Lowering(in_ranks(graph), sizes, machine))
