"""Numba for a target description: `jit_for(machine)` compiles as `numba.njit` does, but for any CPU.

Numba optimises a function for the CPU of its code generator, which also decides the width of vectors. Each CPU
therefore has a code generator and contexts of its own, as a target of Numba's (`numba.core.target_extension`), for
which Numba's own implementations (`min`, `range`) are compiled as well. Numba stops at LLVM's text, from which
compile.py emits object code: machine code from both would take twice as long. This module imports Numba, so only a
process that compiles imports it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from numba.core import (
    codegen,
    compiler,
    cpu,
    registry,
    target_extension,
    typed_passes,
    typeinfer,
    untyped_passes,
)
from numba.core.compiler_machinery import PassManager
from numba.core.utils import threadsafe_cached_property

from netc.compiler.targets.machine import Machine

Jit = Callable[..., Any]  # jit(function, signature, **options of numba.njit): a dispatcher


def jit_for(machine: Machine) -> Jit:
    """Returns the `jit` that compiles for a machine's CPU."""
    return _jit_for(machine.cpu, machine.llvm_features)


@cache
def _jit_for(cpu_name: str, features: str) -> Jit:
    class Target(target_extension.CPU):  # type: ignore[misc]
        """The CPU's key in Numba's registries."""

    name = f"netc {cpu_name} {features}"

    class Dispatcher(registry.CPUDispatcher):  # type: ignore[misc]
        targetdescr = _Contexts(name, cpu_name, features)

    def dispatcher_of(function: Any, options: dict[str, Any], passes: Any) -> Any:
        return Dispatcher(function, {}, {"nopython": True, "boundscheck": None, **options}, passes)

    def jit(function: Any, signature: Any, **options: Any) -> Any:
        dispatcher = dispatcher_of(function, options, LoopCompiler)
        with typeinfer.register_dispatcher(dispatcher):
            dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    target_extension.target_registry[name] = Target
    target_extension.dispatcher_registry[Target] = Dispatcher
    # for Numba's own implementations
    target_extension.jit_registry[Target] = lambda **options: (
        lambda function: dispatcher_of(function, options, compiler.Compiler)
    )
    return jit


class LoopCompiler(compiler.CompilerBase):  # type: ignore[misc]
    """Numba's passes without those that change nothing in a kernel of loops, which has no closures, no arrays, no
    `with` and no functions to inline. The code is the same."""

    _PASSES = (
        untyped_passes.TranslateByteCode,
        untyped_passes.FixupArgs,
        untyped_passes.IRProcessing,
        untyped_passes.RewriteSemanticConstants,
        untyped_passes.DeadBranchPrune,
        untyped_passes.GenericRewrites,
        untyped_passes.ReconstructSSA,
        typed_passes.NopythonTypeInference,
        typed_passes.PreLowerStripPhis,
        typed_passes.IRLegalization,
        typed_passes.AnnotateTypes,
        typed_passes.NativeLowering,
        typed_passes.NoPythonBackend,
    )

    def define_pipelines(self) -> list[Any]:
        """Overrides the method that names the passes."""
        manager = PassManager("loops")
        for step in self._PASSES:
            manager.add_pass(step, step.__name__)
        manager.finalize()
        return [manager]


class _Contexts(registry.CPUTarget):  # type: ignore[misc]
    """Numba's contexts for a CPU."""

    def __init__(self, name: str, cpu_name: str, features: str) -> None:
        super().__init__(name)
        self.cpu_name, self.features = cpu_name, features

    @threadsafe_cached_property  # type: ignore[untyped-decorator]
    def _toplevel_target_context(self) -> "_Context":
        return _Context(self.typing_context, self._target_name, self.cpu_name, self.features)


class _Context(cpu.CPUContext):  # type: ignore[misc]
    def __init__(self, typing_context: Any, name: str, cpu_name: str, features: str) -> None:
        self.cpu_name, self.features = cpu_name, features
        super().__init__(typing_context, name)

    def init(self) -> None:
        super().init()
        self._internal_codegen = _Codegen(self.cpu_name, self.features)


class _Library(codegen.AOTCodeLibrary):  # type: ignore[misc]
    """The functions that are compiled together, as LLVM's text alone."""

    def get_pointer_to_function(self, name: str) -> int:
        """Returns 0 in place of an address, because nothing here is called from Python."""
        self._ensure_finalized()
        return 0

    def _optimize_final_module(self) -> None:
        """Runs Numba's full passes. Those that it usually runs before prune reference counts, which kernels do not
        have."""
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _Codegen(codegen.JITCPUCodegen):  # type: ignore[misc]
    """A code generator that takes its CPU from its arguments where Numba's own asks the host, and makes no machine
    code."""

    _library_class = _Library

    def __init__(self, cpu_name: str, features: str) -> None:
        self.cpu_name, self.features = cpu_name, features
        super().__init__("netc")

    def _add_module(self, module: Any) -> None:
        """Overrides the method that gives a module to the engine: no machine code is made here."""

    def set_env(self, env_name: str, env: Any) -> None:
        """Overrides the method that stores an environment in the engine: kernels look up no globals."""

    def _get_host_cpu_name(self) -> str:
        return self.cpu_name

    def _get_host_cpu_features(self) -> str:
        return self.features
