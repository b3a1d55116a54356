"""The emulator as a target: runs the plan of the machine code in Python, and checks every access to memory."""

from msgspec import Struct

from netc.compiler.targets.emulator.run import Emulator
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Request


class Emulated(Struct, frozen=True):
    """The target of the backend "plan": the plan for `machine`."""

    machine: Machine
    name = "plan"

    def build(self, request: Request) -> Emulator:
        """Returns the plan as an executable of one thread, in which all members take part, however small a step is."""
        planned = request.make_plan(True)
        return Emulator(planned.plan, planned.members)
