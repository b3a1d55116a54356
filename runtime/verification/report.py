"""The outcomes of checks as messages: a diagnostic for each difference, and what a bug report should say of the
installation.
"""

import platform
from collections.abc import Collection, Iterator
from importlib.metadata import version
from typing import Any

from msgspec import Struct

from netc.compiler.targets.named import machine_for
from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.storage import home
from netc.runtime.verification import CHECKS, differences_of
from netc.runtime.verification.comparison import counting
from netc.runtime.verification.subject import Check, Difference, Subject

CODE = "E1301"
PLEASE = (
    "A difference is a fault of netc, not of the file. Please report it, with the file and all that is printed here."
)


class Outcome(Struct, frozen=True):
    """The differences that a check has found, and the number of results that it compared.

    A check that compared nothing does not apply to the model.
    """

    check: Check
    compared: int
    differences: tuple[Difference, ...]

    @property
    def summary(self) -> str:
        """The outcome in a few words, such as `ok`."""
        if self.differences:
            return f"{len(self.differences)} differ"
        return f"ok, {self.compared:,} compared" if self.compared else "does not apply"

    def as_json(self) -> dict[str, Any]:
        """The outcome as `netc check --verify --json` prints it."""
        return {
            "check": self.check.name,
            "compares": self.check.doc,
            "compared": self.compared,
            "ok": not self.differences,
            "differences": [
                {
                    "where": difference.where,
                    "file": difference.span.source.name,
                    "line": difference.span.line,
                    "detail": difference.detail,
                }
                for difference in self.differences
            ],
        }


def outcomes(subject: Subject, names: Collection[str] | None = None) -> Iterator[Outcome]:
    """Runs the checks one after another."""
    for name, check in CHECKS.items():
        if names is None or name in names:
            with counting() as counter:
                differences = tuple(differences_of(check, subject))
            yield Outcome(check, counter.count, differences)


def diagnostic_of(difference: Difference) -> Diagnostic:
    """A difference as a message with its location."""
    title = f"`{difference.check}` differs {difference.where}"
    if not difference.where.startswith(("after ", "in ", "on ", "by ")):
        title = f"`{difference.check}` differs in {difference.where}"
    return Diagnostic(CODE, title, Label(difference.span, difference.detail))


def environment() -> dict[str, str]:
    """The versions, the target and the machine that results depend on."""
    machine = machine_for()
    packages = ", ".join(f"{name} {version(name)}" for name in ("llvmlite", "numpy"))
    folder = home.usable_folder()
    return {
        "netc": f"{version('netc')} ({packages}, Python {platform.python_version()})",
        "target": f"{machine.cpu}, vectors of {machine.vector_bytes} bytes, "
        f"{'FMA' if machine.has_fma else 'no FMA'}, {machine.registers} registers, "
        f"bf16 in {'tiles' if machine.has_tiles else 'pairs' if machine.has_pairs else 'f32'}"
        f"{' (Linux does not let this process use tiles)' if machine.has_amx and not machine.has_tiles else ''}, "
        f"caches of {machine.first_cache >> 10} KiB and {machine.second_cache >> 10} KiB",
        "system": f"{platform.platform()}, {machine.cores} cores",
        "kernel cache": str(folder) if folder is not None else f"none: {home.why_unusable()}",
    }
