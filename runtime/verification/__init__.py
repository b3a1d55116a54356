"""Oracles: ways to compute the same thing twice, run on any model and its data, that name the pass, the value and the line where they disagree.

    for difference in verify(Subject(model, fields)):
        print(difference)

`netc check M.net --verify` and the generator of programs in the tests run these. A check says nothing of a model that it does not apply to.
"""

import traceback
from collections.abc import Collection, Iterator

from netc.dsl.diagnostics import Fault
from netc.dsl.source import Span
from netc.runtime.verification import backends, evaluations, exports, invariance, passes, slopes, texts
from netc.runtime.verification.subject import Check, Difference, Subject

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("format", "`netc fmt` prints the same program", False, texts.check),
        Check("passes", "each pass leaves the results of every graph as they are", False, passes.check),
        Check("updates", "a step reads old values and writes new ones, all at once", False, passes.check_updates),
        Check("gradients", "derivatives are the slopes of the loss, by finite differences", False, slopes.check),
        Check("evaluation", "figures of a split in batches are those of all samples at once", False, evaluations.check),
        Check("accumulate", "one large batch is what several small ones come to", False, invariance.accumulate),
        Check("alone", "a sample alone is predicted as in the batch", False, invariance.alone),
        Check(
            "plan",
            "the plan of a small model, emulated in any order with tiny caches, computes what the interpreter does",
            False,
            backends.check_plan,
        ),
        Check("compiled", "machine code computes what the interpreter does", True, backends.check),
        Check("threads", "1, 2, 3 and 5 threads give the same bits", True, invariance.threads),
        Check(
            "alone_compiled",
            "compiled, a sample alone has the same bits as in the batch",
            True,
            invariance.alone_compiled,
        ),
        Check("many_steps", "many steps in one call have the bits of single ones", True, invariance.many_steps),
        Check("memory", "under the least limit on memory a step has the same bits", True, invariance.memory),
        Check("export", "exported files predict what the model does", False, exports.check),
    )
}


def verify(subject: Subject, names: Collection[str] | None = None) -> list[Difference]:
    """All differences that the checks (or those of these names) find. What a check raises is a difference too, unless it is a Fault: that is the user's."""
    unknown = [name for name in names or () if name not in CHECKS]
    if unknown:
        raise ValueError(f"there is no check `{unknown[0]}`: there are {', '.join(CHECKS)}")
    return [
        difference
        for name, check in CHECKS.items()
        if names is None or name in names
        for difference in differences_of(check, subject)
    ]


def differences_of(check: Check, subject: Subject) -> Iterator[Difference]:
    """What one check finds."""
    try:
        yield from check.run(subject)
    except Fault:
        raise
    except Exception as error:  # the compiler's own fault, of whatever kind, is what is looked for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        first = (str(error).strip() or "no message").splitlines()[0]
        told = f"{type(error).__name__}: {first} (line {frame.lineno} of {frame.filename}, in {frame.name})"
        yield Difference(check.name, "an exception", Span(subject.model.source, 0, 0), told)


__all__ = ["CHECKS", "Check", "Difference", "Subject", "differences_of", "verify"]
