"""Warnings about models that run but are almost surely wrong.

Each rule is a function of the finished Context; ADVICE is their table.

A rule is silent unless it is sure. A comment at the line's end, `# allow: W0502`, silences one.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from netc.compiler.elaborate.advice.comparisons import source_of
from netc.compiler.elaborate.advice.losses import compared_with_an_input, compared_with_itself, copied
from netc.compiler.elaborate.bindings import Applied
from netc.compiler.elaborate.context import Context
from netc.compiler.ir.graph import needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.model import TrainSettings
from netc.compiler.operations.elementwise import add, subtract
from netc.compiler.operations.functions import log, relu, sigmoid
from netc.compiler.operations.reduce import log_softmax, softmax
from netc.dsl.diagnostics import Diagnostic, Fault, Label

_REGRESSION = ("mse", "mae", "huber")


def _library(context: Context, *names: str) -> Iterator[Applied]:
    """Applications of operations and library blocks by these names, wherever they are applied."""
    for application in context.applied:
        if application.name in names and application.is_builtin:
            yield application


_TAKES_LOGITS = (
    ("cross_entropy", (softmax, log_softmax, log)),
    ("binary_cross_entropy", (sigmoid,)),
    ("calibrated", (softmax, log_softmax, log, sigmoid)),
)


def _logits(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Warns if a block that takes logits gets the result of a softmax or a sigmoid."""
    for loss, applied in _TAKES_LOGITS:
        for application in _library(context, loss):
            prediction = source_of(application.operands[0])
            if prediction.definition in applied:
                code = "W0503" if prediction.definition is sigmoid else "W0502"
                yield Diagnostic(
                    code,
                    f"`{loss}` takes logits, and this went through `{prediction.operation}` already",
                    Label(context.user_span(application.spans[0])),
                    (Label(prediction.span, f"`{prediction.operation}` is here"),),
                    f"give {loss} what goes into `{prediction.operation}`",
                )


def _relu_of_logits(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Warns about a ReLU before a loss of logits: no class gets less than 0, and where all are 0 nothing is learnt."""
    for loss in _library(context, "cross_entropy", "binary_cross_entropy"):
        logits = source_of(loss.operands[0])
        if logits.definition is relu:
            yield Diagnostic(
                "W0515",
                f"`{loss.name}` takes logits, which may be negative, and a ReLU gives none that are",
                Label(context.user_span(loss.spans[0])),
                (Label(logits.span, "`relu` is here"),),
                "leave it out after the last layer",
            )


def _relu_of_regression(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    for loss in _library(context, *_REGRESSION):
        prediction = source_of(loss.operands[0])
        if prediction.definition is relu and source_of(loss.operands[1]).role is Role.TARGET:
            yield Diagnostic(
                "W0505",
                "a ReLU at the output of a regression cannot give a negative number, "
                "and learns nothing where it gives 0",
                Label(prediction.span),
                (Label(context.user_span(loss.span), f"`{loss.name}` compares it with the target"),),
                "leave it out after the last layer",
            )


def _dropout_at_the_end(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    dropouts = {application.result: application for application in _library(context, "dropout")}
    for loss in _library(context, "cross_entropy", "binary_cross_entropy", "hinge", "nll", *_REGRESSION):
        dropout = dropouts.get(source_of(loss.operands[0]))
        if dropout is not None:
            yield Diagnostic(
                "W0506",
                "dropout after the last layer drops parts of the prediction itself",
                Label(context.user_span(dropout.span)),
                (Label(context.user_span(loss.span), f"`{loss.name}` takes what it leaves"),),
                "put it before the last layer",
            )


def _bias_before_normalisation(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Warns about x + b from which its mean over the batch is subtracted, which takes b away again."""
    for mean in _library(context, "mean"):
        shifted = mean.operands[0]
        if shifted.definition is not add or not shifted.type.is_batched or mean.result.type.is_batched:
            continue
        sources = [source_of(operand) for operand in shifted.operands]
        bias = next((source for source in sources if source.role is Role.PARAMETER), None)
        if bias is not None and any(
            user.definition is subtract and user.operands[0] is shifted and mean.result in needed_by([user.operands[1]])
            for user in context.graph.users(shifted)
        ):
            yield Diagnostic(
                "W0507",
                f"the bias `{bias.name}` has no effect: the mean over the batch is subtracted after it",
                Label(bias.span),
                (Label(context.user_span(mean.span), "this mean"),),
                "a product without a bias: x @ W",
            )


def _frozen(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    if (
        train.freeze
        and context.parameters
        and all(any(fnmatchcase(name, pattern) for pattern in train.freeze) for name in context.parameters)
    ):
        span = context.settings.get("freeze")
        assert span is not None
        yield Diagnostic(
            "W0602", "`freeze` leaves no parameter to train", Label(span), (), "a pattern that takes in fewer"
        )


def _weights_that_cancel(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Warns about class weights in steps of one sample, which divide its loss by its own weight again."""
    if train.samples_per_step > 1:
        return
    for weight in context.graph.results_of(ResultKind.LOSS_WEIGHT).values():
        source = source_of(weight)
        states = [leaf for leaf in needed_by([weight]) if leaf.role is Role.STATE]
        fitted = [leaf for leaf in states if context.states[leaf.name].weights_of is not None]
        if fitted and source.type.size(1) == 1 and not source.type.is_varying:
            yield Diagnostic(
                "W0611",
                "class weights have no effect in steps of one sample",
                Label(fitted[0].span, "a step divides by the sum of its samples' weights, which is the sample's own"),
                hint="a larger `batch`, or `accumulate`",
            )


def _loss_on_validation_part(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Warns about a loss that reads a state which is not fitted on the training part: training would see another."""
    for loss in context.graph.results_of(ResultKind.LOSS).values():
        states = [leaf for leaf in needed_by([loss]) if leaf.role is Role.STATE]
        fitted = [leaf for leaf in states if context.states[leaf.name].part != "train"]
        for leaf in sorted(fitted, key=lambda leaf: leaf.number)[:1]:
            yield Diagnostic(
                "W0508",
                "training sees a part that it should not: a loss reads what is fitted on it",
                Label(loss.span),
                (Label(leaf.span, f"this is fitted on the part `{context.states[leaf.name].part}`"),),
                "give the loss the logits that are not calibrated" if leaf.name.endswith("calibrated.fitted") else None,
            )


_LEAST_PIXELS = 5  # rows and columns of a picture


def _picture_as_steps(context: Context, train: TrainSettings) -> Iterator[Diagnostic]:
    """Warns about a convolution over an input float[n, n], which is a picture without its axis of channels."""
    for layer in _library(context, "conv"):
        read = layer.operands[0]
        sizes = read.type.sample
        if read.role is Role.INPUT and len(sizes) == 2 and sizes[0] == sizes[1] and _is_at_least(sizes[0]):
            n = sizes[0]
            yield Diagnostic(
                "W0513",
                f"this convolution takes `{read.name}` for a sequence of {n} steps with {n} channels",
                Label(context.user_span(layer.span)),
                (Label(read.span, "a picture would have an axis of channels"),),
                f"input {read.name}: float[{n}, {n}, 1], and `-> reshape({n}, {n}, 1)` in `data`",
            )


def _is_at_least(size: object) -> bool:
    return isinstance(size, int) and size >= _LEAST_PIXELS


ADVICE: tuple[Callable[[Context, TrainSettings], Iterator[Diagnostic]], ...] = (
    _logits,
    _relu_of_logits,
    _relu_of_regression,
    _dropout_at_the_end,
    _bias_before_normalisation,
    _frozen,
    _weights_that_cancel,
    _loss_on_validation_part,
    compared_with_itself,
    compared_with_an_input,
    copied,
    _picture_as_steps,
)


def advise(context: Context, train: TrainSettings) -> None:
    """Adds the warnings of all rules to the context's diagnostics."""
    for rule in ADVICE:
        for warning in rule(context, train):
            context.diagnostics.note(Fault([warning]))
