"""The processor of this machine: what Linux says about it, and what LLVM calls it and its instruction sets.

To import LLVM takes as long as everything else in a small program that runs from the cache. So LLVM's answer is kept
there too, under what Linux says.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from msgspec import Struct

from netc.dsl.storage import records
from netc.dsl.storage.installed import version_of

_CPU = Path("/proc/cpuinfo")
# what /proc/cpuinfo says of one processor at one moment
_CHANGING = ("processor", "cpu MHz", "bogomips", "BogoMIPS", "apicid", "initial apicid", "core id", "physical id")


class Processor(Struct, frozen=True):
    """LLVM's name of a CPU, and its instruction sets: `+avx2,-sse4a`."""

    cpu: str
    features: str

    @property
    def sets(self) -> Mapping[str, bool]:
        """Whether it has each instruction set, by name."""
        return {feature[1:]: feature[0] == "+" for feature in self.features.split(",")}


def facts_of_linux() -> list[str]:
    """The lines of /proc/cpuinfo about the first processor that do not change. Raises OSError where there are none."""
    lines = _CPU.read_text().split("\n\n", 1)[0].splitlines()
    if not lines:
        raise OSError("it is empty")
    return [line for line in lines if not line.startswith(_CHANGING)]


@cache
def processor() -> Processor:
    """Returns this machine's processor, from the cache if it was asked for before."""
    try:
        name = f"processor-{records.key_of(version_of('llvmlite'), *facts_of_linux())}"
    except OSError:  # this is not Linux
        return asked_of_llvm()
    content = records.read(name)
    if content is not None:
        cpu, line, features = content.decode(errors="replace").partition("\n")
        if line:
            return Processor(cpu, features)
    answer = asked_of_llvm()
    records.write(name, f"{answer.cpu}\n{answer.features}".encode())
    return answer


def asked_of_llvm() -> Processor:
    """Returns what LLVM says about this machine's processor."""
    import llvmlite.binding as llvm

    return Processor(llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
