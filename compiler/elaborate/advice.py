"""Warnings: what a model says that is almost surely not what was meant. Each rule is a function of the finished Context; ADVICE is their table.

A rule is silent unless it is sure. A comment at the line's end, `# allow: W0502`, silences one.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from netc.compiler.elaborate.bindings import Applied
from netc.compiler.elaborate.context import Context
from netc.compiler.ir.graph import needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import TrainSettings
from netc.compiler.operations.elementwise import add, relu, subtract
from netc.dsl.diagnostics import Diagnostic, Label

_REGRESSION = ("mse", "mae", "huber")


def _library(context: Context, *names: str) -> Iterator[Applied]:
    """Applications of library blocks by these names; of operations, whoever applied them."""
    for one in context.applied:
        if one.name in names and one.is_builtin:
            yield one


def _source_of(value: Value) -> Value:
    """What a value is another shape of."""
    while value.role is Role.SHAPE and value.operands:
        value = value.operands[0]
    return value


def _logits(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Losses that begin with a softmax or a sigmoid of their own."""
    for loss, done in (("cross_entropy", ("softmax", "log_softmax", "log")), ("binary_cross_entropy", ("sigmoid",))):
        for one in _library(context, loss):
            given = _source_of(one.operands[0])
            if given.operation in done:
                code = "W0502" if loss == "cross_entropy" else "W0503"
                yield Diagnostic(
                    code,
                    f"`{loss}` takes logits, and this went through `{given.operation}` already",
                    Label(context.user_span(one.spans[0])),
                    (Label(given.span, f"`{given.operation}` is here"),),
                    f"give {loss} what goes into `{given.operation}`",
                )


def _relu_of_regression(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    for one in _library(context, *_REGRESSION):
        given = _source_of(one.operands[0])
        if given.definition is relu and _source_of(one.operands[1]).role is Role.TARGET:
            yield Diagnostic(
                "W0505",
                "a ReLU at the output of a regression cannot give a negative number, and learns nothing where it gives 0",
                Label(given.span),
                (Label(context.user_span(one.span), f"`{one.name}` compares it with the target"),),
                "leave it out after the last layer",
            )


def _dropout_at_the_end(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    dropped = {one.result: one for one in _library(context, "dropout")}
    for loss in _library(context, "cross_entropy", "binary_cross_entropy", "hinge", "nll", *_REGRESSION):
        found = dropped.get(_source_of(loss.operands[0]))
        if found is not None:
            yield Diagnostic(
                "W0506",
                "dropout after the last layer takes away from the answer itself",
                Label(context.user_span(found.span)),
                (Label(context.user_span(loss.span), f"`{loss.name}` takes what it leaves"),),
                "put it before the last layer",
            )


def _bias_before_normalisation(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """x + b less its mean over the batch: whatever b is, it is gone."""
    for one in _library(context, "mean"):
        shifted = one.operands[0]
        bias = (
            next((_source_of(x) for x in shifted.operands if _source_of(x).role is Role.PARAMETER), None)
            if shifted.definition is add
            else None
        )
        is_over_batch = shifted.type.is_batched and not one.result.type.is_batched
        if bias is None or not is_over_batch:
            continue
        if any(
            user.definition is subtract and user.operands[0] is shifted and one.result in needed_by([user.operands[1]])
            for user in context.graph.users(shifted)
        ):
            yield Diagnostic(
                "W0507",
                f"the bias `{bias.name}` has no effect: the mean over the batch is subtracted after it",
                Label(bias.span),
                (Label(context.user_span(one.span), "this mean"),),
                "a product without a bias: x @ W",
            )


def _frozen(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    if (
        train.freeze
        and context.parameters
        and all(any(fnmatchcase(name, pattern) for pattern in train.freeze) for name in context.parameters)
    ):
        place = context.settings.get("freeze")
        assert place is not None
        yield Diagnostic(
            "W0602", "`freeze` leaves no parameter to train", Label(place), (), "a pattern that takes in fewer"
        )


ADVICE: tuple[Callable[[Context, TrainSettings], Iterator[Diagnostic]], ...] = (
    _logits,
    _relu_of_regression,
    _dropout_at_the_end,
    _bias_before_normalisation,
    _frozen,
)


def advise(context: Context, train: TrainSettings) -> None:
    """Add what each rule finds."""
    for rule in ADVICE:
        for found in rule(context, train):
            if found not in context.diagnostics.found:
                context.diagnostics.found.append(found)
