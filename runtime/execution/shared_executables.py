"""Executables that several programs of one process run, each with its own parameters, memory and numbers."""

from typing import TYPE_CHECKING

from msgspec import Struct, field

from netc.runtime.locks import Mutex

if TYPE_CHECKING:  # a saved prediction imports no pass
    from netc.compiler.program.plan import Plan
    from netc.compiler.targets.target import Executable
    from netc.runtime.execution.kept_steps import PlanFacts

_MOST = 64  # that are remembered


class SharedExecutable(Struct, frozen=True):
    """An executable with the facts of its plan, and the plan if one was made."""

    executable: "Executable"
    facts: "PlanFacts"
    plan: "Plan | None"


class SharedExecutables(Struct):
    """Executables by a text of all that decides them, for any number of threads."""

    _entries: dict[str, SharedExecutable] = field(default_factory=dict)
    _lock: Mutex = field(default_factory=Mutex)

    def get(self, key: str) -> SharedExecutable | None:
        with self._lock:
            return self._entries.get(key)

    def add(self, key: str, entry: SharedExecutable) -> None:
        """Remembers an executable, and forgets the oldest of too many."""
        with self._lock:
            self._entries[key] = entry
            while len(self._entries) > _MOST:
                del self._entries[next(iter(self._entries))]
