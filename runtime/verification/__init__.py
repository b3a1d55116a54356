"""Oracles: checks that compute the same thing in two ways, for any model and its data, and name the pass, the value and
the line where the results disagree.

    for difference in verify(Subject(model, fields)):
        print(difference)

`netc check M.net --verify` and the generator of programs in the tests run these. A check yields nothing for a model
that it does not apply to.
"""

import traceback
from collections.abc import Collection, Iterator

from netc.dsl.diagnostics import Fault
from netc.dsl.source import Span
from netc.runtime.verification import backends, evaluations, exports, invariance, passes, slopes, steps, texts
from netc.runtime.verification.subject import Check, Difference, Subject, with_single_steps

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("format", "`netc fmt` prints the same program", False, texts.check),
        Check("passes", "each pass leaves the results of every graph as they are", False, passes.check),
        Check("updates", "a step reads old values and writes new ones, all at once", False, passes.check_updates),
        Check("gradients", "derivatives are the slopes of the loss, by finite differences", False, slopes.check),
        Check("evaluation", "metrics of a split in batches are those of all samples at once", False, evaluations.check),
        Check("accumulate", "one large batch gives what several small ones give", False, invariance.accumulate),
        Check(
            "steps",
            "a model predicts step by step, as `netc generate` does, what it predicts at once",
            False,
            steps.check,
        ),
        Check("alone", "a sample alone is predicted as in the batch", False, invariance.alone),
        Check(
            "plan",
            "the plan of a small model, emulated in any order with tiny caches, computes what the interpreter does",
            False,
            backends.check_plan,
        ),
        Check("compiled", "machine code computes what the interpreter does", True, backends.check),
        Check("ranks", "2, 4 and 16 ranks that share an emulated plan give the same bits", False, invariance.ranks),
        Check("threads", "1, 2, 3 and 5 threads give the same bits", True, invariance.threads),
        Check(
            "alone_compiled",
            "compiled, a sample alone has the same bits as in the batch",
            True,
            invariance.alone_compiled,
        ),
        Check("many_steps", "many steps in one call have the bits of single ones", True, invariance.many_steps),
        Check("constants", "numbers as inputs of a step give the bits of literals", True, invariance.constants),
        Check("memory", "under the least limit on memory a step has the same bits", True, invariance.memory),
        Check("export", "exported files predict what the model does", False, exports.check),
    )
}


def verify(subject: Subject, names: Collection[str] | None = None) -> list[Difference]:
    """All differences that the checks find, or those of these names.

    An exception in a check is a difference too, unless it is a Fault, which is the user's. Raises ValueError for a name
    that no check has.
    """
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
    """The differences that one check finds."""
    try:
        yield from check.run(with_single_steps(subject))
    except Fault:
        raise
    except Exception as error:  # any fault of the compiler is what this looks for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        message = (str(error).strip() or "no message").splitlines()[0]
        detail = f"{type(error).__name__}: {message} (line {frame.lineno} of {frame.filename}, in {frame.name})"
        yield Difference(check.name, "an exception", Span(subject.model.source, 0, 0), detail)


__all__ = ["CHECKS", "Check", "Difference", "Subject", "differences_of", "verify"]
