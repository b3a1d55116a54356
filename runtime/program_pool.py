"""Programs that wait for another training of a model that compiles to the same code.

Building a program takes longer than many trainings of a small model do.
"""

from msgspec import Struct, field

from netc.compiler.model import Model
from netc.runtime.execution.compiled_model import Options
from netc.runtime.execution.shared_executables import SharedExecutables
from netc.runtime.execution.workers import Workers
from netc.runtime.locks import Mutex
from netc.runtime.program import Program

_MOST_IDLE = 16  # programs that are kept


class ProgramPool(Struct):
    """Idle programs by what they depend on: `programs` is `programs_of(model)` (training/programs.py).

    Programs of models that differ only in numbers share what is compiled for them.

    Whoever takes a program has it alone until it is given back, so any number of threads may use one pool.
    """

    _idle: list[tuple[str, int, Program]] = field(default_factory=list)
    _lock: Mutex = field(default_factory=Mutex)
    _executables: SharedExecutables = field(default_factory=SharedExecutables)

    def take(self, model: Model, programs: str, seed: int, threads: int = 1, draws: bool = True) -> Program:
        """A program with the initial parameters of a seed; without `draws` with any, for a caller that sets them all,
        because to draw the parameters of a large model takes longer than to predict."""
        program = self._taken(programs, threads)
        if program is None:
            options = Options(model.train.batch, seed, executables=self._executables)
            return Program.of_options(model, options, Workers(threads))
        program.restart(model, seed, draws)
        return program

    def give_back(self, programs: str, program: Program) -> None:
        """Keeps a program for others, and forgets the oldest of too many."""
        with self._lock:
            self._idle.append((programs, program.workers.count, program))
            del self._idle[:-_MOST_IDLE]

    def _taken(self, programs: str, threads: int) -> Program | None:
        with self._lock:
            for position, (key, count, program) in enumerate(self._idle):
                if (key, count) == (programs, threads):
                    del self._idle[position]
                    return program
        return None
