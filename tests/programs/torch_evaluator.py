"""Evaluates the syntax tree of a `.net` file on each sample in turn, with PyTorch's tensors.

A model describes one sample, and that is what is computed, without batch, padding or masks. A value that depends on
data is a tensor for each sample, and any other value is one tensor. It knows the syntax and nothing of the compiler.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from msgspec import Struct, field

from netc.dsl import library, syntax
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.dsl.structs import replace
from tests.programs.torch_forms import OPERATORS, SPECIAL
from tests.programs.torch_functions import FUNCTIONS, LAYERS, OVER_FIXED
from tests.programs.torch_scans import scan
from tests.programs.torch_values import Function, Pair, Results, Samples, Scope, Unsupported, is_pair


class Evaluator(Struct):
    """Runs statements. `parameters` and `states` are in the order in which the model declares them."""

    count: int
    parameters: Mapping[str, Any]
    states: Iterator[Any]
    fields: Mapping[str, Any]
    blocks: dict[str, syntax.Block | syntax.Op]
    has_sequences: bool = False
    taken: int = 0  # the number of parameters that were declared so far
    losses: list[Any] = field(default_factory=list)
    shared: list[Iterator[Any]] = field(default_factory=list)  # the parameters of layers that are applied again
    owned: list[list[Any]] = field(default_factory=list)  # the parameters of layers that are applied for the first time

    # ------------------------------------------------------------------ values

    def each(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Applies a function to each sample, or once if no argument depends on data."""
        values = (*arguments, *options.values())
        if not any(isinstance(value, Samples) for value in values):
            return function(*arguments, **options)
        results = []
        for n in range(self.count):
            of_sample = [argument[n] if isinstance(argument, Samples) else argument for argument in arguments]
            named = {name: option[n] if isinstance(option, Samples) else option for name, option in options.items()}
            results.append(function(*of_sample, **named))
        if isinstance(results[0], tuple):  # several results
            return Results(Samples(column) for column in zip(*results, strict=True))
        return Samples(results)

    def parameter(self) -> Any:
        if self.shared:
            value = next(self.shared[-1])
        else:
            value = list(self.parameters.values())[self.taken]
            self.taken += 1
        for owner in self.owned:
            owner.append(value)
        return value

    # ------------------------------------------------------------------ statements

    def run(self, statements: Sequence[syntax.Statement], scope: Scope) -> Any:
        """Runs statements in order and returns the values of `return`."""
        for statement in statements:
            match statement:
                case syntax.Input(name=name) | syntax.Target(name=name):
                    scope[name.text] = self.fields[name.text]
                    self.note_lengths(statement.type, scope[name.text], scope)
                case syntax.Param(name=name):
                    scope[name.text] = self.parameter()
                case syntax.State(name=name):
                    scope[name.text] = next(self.states)
                case syntax.Assign(names=names, value=value):
                    results = self.evaluate(value, scope)
                    results = results if isinstance(results, Results) else [results]
                    scope.update(zip((name.text for name in names), results, strict=False))
                case syntax.Output(name=name, value=value):
                    scope[name.text] = self.evaluate(value, scope)
                case syntax.Layer(name=name, value=value):
                    scope[name.text] = replace(self.function(value, scope), parameters=[])
                case syntax.Loss(value=value):
                    self.losses.append(self.mean(value, scope))
                case syntax.For(name=name, start=start, stop=stop, body=body):
                    for number in range(self.evaluate(start, scope), self.evaluate(stop, scope)):
                        scope[name.text] = number
                        self.run(body, scope)
                case syntax.Return(values=values):
                    results = [self.evaluate(value, scope) for value in values]
                    return results[0] if len(results) == 1 else Results(results)
                case syntax.Watch(value=value) if _owns(value):
                    raise Unsupported("a watched value with parameters")
        return None

    def note_lengths(self, type_: syntax.TypeOf, values: Any, scope: Scope) -> None:
        """Binds the names of varying dimensions to numbers of each sample."""
        for dim in type_.dims[:1]:
            name = dim.left if isinstance(dim, syntax.Binary) else dim
            if isinstance(name, syntax.Name) and scope.find(name.text) is None:
                scope[name.text] = Samples(len(value) for value in values)

    def mean(self, node: syntax.Expression, scope: Scope) -> Any:
        """A loss: the mean over all its elements in the batch, or the sum divided by the sum of its weights."""
        call = node.value if isinstance(node, syntax.Group) else node
        if (
            isinstance(call, syntax.Call)
            and isinstance(call.function, syntax.Name)
            and call.function.text == "weighted"
        ):
            error, weight = (self.evaluate(argument.value, scope) for argument in call.arguments)
            pairs = list(zip(weight if isinstance(weight, Samples) else (weight,) * self.count, error, strict=True))
            if any(error_of_sample.ndim > like.ndim for error_of_sample, like in pairs):
                raise Unsupported("a weight for each step, of samples that are all as long (over_fixed)")
            errors = torch.cat([error_of_sample.reshape(-1) for error_of_sample in error])
            weights = torch.cat(
                [weight_of_sample.broadcast_to(like.shape).reshape(-1) for weight_of_sample, like in pairs]
            ).detach()
            return (errors * weights).sum() / weights.sum()
        value = self.evaluate(node, scope)
        parts = value if isinstance(value, Samples) else (value,)
        return torch.cat([part.reshape(-1) for part in parts]).mean()

    # ------------------------------------------------------------------ expressions

    def evaluate(self, node: syntax.Expression, scope: Scope) -> Any:
        match node:
            case syntax.Number():
                return node.value
            case syntax.Text(value=text):
                return text
            case syntax.Group(value=inner):
                return self.evaluate(inner, scope)
            case syntax.Name(text=name):
                return self.name(name, scope)
            case syntax.ListOf(items=items):
                return [self.evaluate(item, scope) for item in items]
            case syntax.Tuple(entries=entries):
                return Pair(self.evaluate(entry.value, scope) for entry in entries)
            case syntax.Unary(operator=operator, operand=operand):
                value = self.evaluate(operand, scope)
                return self.each(lambda x: ~x if operator == "not" else -x, value)
            case syntax.Binary(operator=operator, left=left, right=right):
                return self.each(OPERATORS[operator], self.evaluate(left, scope), self.evaluate(right, scope))
            case syntax.Choose(then=then, condition=condition, otherwise=otherwise):
                return self.evaluate(then if self.evaluate(condition, scope) else otherwise, scope)
            case syntax.Pipe(value=value, into=into):
                return self.apply(into, [syntax.Argument(value.span, None, value)], scope)
            case syntax.Call(function=function, arguments=arguments):
                return self.apply(function, list(arguments), scope)
            case syntax.Index(value=value, indices=indices):
                parts = [self.index(index, scope) for index in indices]
                return self.each(lambda x, *at: x[at if len(at) > 1 else at[0]], self.evaluate(value, scope), *parts)
            case syntax.Scan():
                return scan(self, node, scope)
        raise Unsupported(type(node).__name__)

    def name(self, name: str, scope: Scope) -> Any:
        value = scope.find(name)
        if value is not None:
            return value
        words = {
            "training": True,
            "true": True,
            "false": False,
            "batch": "batch",
            "fixed": "fixed",
            "same": "same",
            "valid": "valid",
        }
        return words[name] if name in words else Function(name)

    def index(self, node: syntax.Expression, scope: Scope) -> Any:
        if not isinstance(node, syntax.Slice):
            at = self.evaluate(node, scope)
            return self.each(lambda array: array.long() if hasattr(array, "long") else array, at)
        start, stop = (None if bound is None else self.evaluate(bound, scope) for bound in (node.start, node.stop))
        return slice(start, stop)

    # ------------------------------------------------------------------ applications

    def function(self, node: syntax.Expression, scope: Scope) -> Function:
        """The function that an expression names: a name, or a call that lacks its first argument."""
        if isinstance(node, syntax.Call):
            inner = self.function(node.function, scope)
            return replace(inner, arguments=(*inner.arguments, *node.arguments), scope=scope)
        value = self.evaluate(node, scope)
        if not isinstance(value, Function):
            raise Unsupported("an application of a value")
        return value

    def apply(self, node: syntax.Expression, arguments: list[syntax.Argument], scope: Scope) -> Any:
        """Applies a function to arguments, the first of which may stand left of `->`."""
        function = self.function(node, scope)
        values = [
            (argument.name.text if argument.name else None, self.argument(argument.value, scope))
            for argument in arguments
        ]
        more = [
            (argument.name.text if argument.name else None, self.argument(argument.value, function.scope or scope))
            for argument in function.arguments
        ]
        return self.call(function, [*values, *more] if more else values, scope)

    def argument(self, node: syntax.Expression, scope: Scope) -> Any:
        """The value of an argument. A block that lacks its first argument stays a function."""
        if (
            isinstance(node, syntax.Call)
            and isinstance(node.function, syntax.Name)
            and _takes_blocks(node.function.text, scope, self.blocks)
        ):
            return self.function(node, scope)
        return self.evaluate(node, scope)

    def call(self, function: Function, arguments: list[tuple[str | None, Any]], scope: Scope) -> Any:
        if function.parameters is None:
            return self.called(function.name, arguments, scope)
        if function.parameters:  # a layer that was applied before
            self.shared.append(iter(function.parameters))
            result = self.called(function.name, arguments, scope)
            self.shared.pop()
            return result
        self.owned.append(function.parameters)
        result = self.called(function.name, arguments, scope)
        self.owned.pop()
        return result

    def called(self, name: str, arguments: list[tuple[str | None, Any]], scope: Scope) -> Any:
        positional = [value[0] if isinstance(value, Results) else value for key, value in arguments if key is None]
        named = {key: self.option(key, value) for key, value in arguments if key is not None}
        if name in self.blocks:
            return self.block(self.blocks[name], positional, named)
        if name in SPECIAL:
            return SPECIAL[name](self, positional, named, scope)
        if name in LAYERS:
            function, count = LAYERS[name]
            parameters = [self.parameter() for _ in range(count)]
            if name in ("embed", "dense", "rnn", "gru", "lstm"):
                positional = positional[:1]
            return self.each(function, positional[0], *parameters, *positional[1:], **named)
        if name in OVER_FIXED:
            return self.over_fixed(OVER_FIXED[name], positional)
        if name in FUNCTIONS:
            if "over" in named:
                return self.over(name, FUNCTIONS[name], positional, named)
            return self.each(partial(_with_tensors, FUNCTIONS[name]), *positional, **named)
        if name in _library():
            return self.block(_fitting(_library()[name], positional[0]), positional, named)
        raise Unsupported(name)

    def option(self, key: str, value: Any) -> Any:
        return tuple(value) if isinstance(value, Pair) else value

    def over(self, name: str, function: Callable[..., Any], positional: list[Any], named: dict[str, Any]) -> Any:
        """Applies a reduction along axes.

        Axes are numbers, `fixed`, the name of a varying dimension (the first axis), or the batch.
        """
        over = named.pop("over")
        entries = over if isinstance(over, list) else [over]
        axes = [*(over if is_pair(over) else entries)]
        if "batch" in axes:
            return self.over_batch(function, positional[0], [axis for axis in axes if axis != "batch"])
        numbers = []
        for axis in axes:
            if isinstance(axis, str) and axis == "fixed":
                numbers += ["fixed"]
            else:
                numbers.append(0 if isinstance(axis, Samples) else axis)
        if numbers == ["fixed"]:
            numbers = self.fixed_axes(positional[0])
            if not numbers and name in ("sum", "mean", "max", "min"):  # for PyTorch, no axes mean all axes
                return positional[0]
        chosen = numbers[0] if len(numbers) == 1 else tuple(numbers)
        return self.each(lambda *xs: function(*xs, over=chosen), *positional)

    def fixed_axes(self, x: Any) -> list[int]:
        """The axes of a value that have the same length in all samples.

        Raises Unsupported if the data does not show it.
        """
        if not isinstance(x, Samples):  # a parameter
            return list(range(x.ndim))
        return list(range(int(self.varies(x)), x[0].ndim)) if x[0].ndim else []

    def varies(self, x: Any) -> bool:
        """Whether the length of a value's first axis differs between samples.

        Raises Unsupported if the data does not show it.
        """
        if len({sample.shape for sample in x}) > 1:
            return True
        if any(len({len(sample) for sample in values if sample.ndim}) > 1 for values in self.fields.values()):
            return False
        if not self.has_sequences:
            return False
        raise Unsupported("over = fixed, of samples that are all as long")

    def over_fixed(self, function: Callable[..., Any], positional: list[Any]) -> Any:
        """The mean of a function over a sample, or over each of its steps if lengths differ.

        With equal lengths, the mean over everything is the same.
        """
        values = self.each(function, *positional)
        if not isinstance(values, Samples):
            return values.mean()
        differ = len({sample.shape for sample in values}) > 1
        return Samples(sample.reshape(sample.shape[0], -1).mean(1) if differ else sample.mean() for sample in values)

    def over_batch(self, function: Callable[..., Any], x: Any, axes: list[Any]) -> Any:
        """Applies a reduction over all samples and over axes of each.

        If lengths differ, the steps of all samples are one axis.
        """
        if len({sample.shape for sample in x}) > 1 or any(isinstance(axis, Samples) for axis in axes):
            rest = [axis for axis in axes if not (isinstance(axis, Samples) or axis == 0)]
            return function(torch.cat(x), over=(0, *rest))
        return function(torch.stack(x), over=(0, *(axis + 1 if axis >= 0 else axis for axis in axes)))

    def block(self, block: syntax.Block | syntax.Op, positional: list[Any], named: dict[str, Any]) -> Any:
        """Applies a block of the file or the library, or an `op`."""
        inner = Scope()
        if isinstance(block, syntax.Op):
            inner.update(zip((parameter.text for parameter in block.parameters), positional, strict=True))
            return self.evaluate(block.value, inner)
        inner.update(zip((parameter.name.text for parameter in block.parameters), positional, strict=False))
        inner.update(named)
        for parameter in block.parameters:
            if parameter.type is not None and parameter.name.text in inner:
                _bind_dims(parameter.type, inner[parameter.name.text], inner)
        for parameter in block.parameters:
            if parameter.name.text not in inner:
                assert parameter.default is not None
                inner[parameter.name.text] = self.evaluate(parameter.default, inner)
        return self.run(block.body, inner)


def _with_tensors(function: Callable[..., Any], *values: Any, **options: Any) -> Any:
    """The function with tensors in place of numbers, where the text has numbers beside tensors."""
    plain = [tuple(value) if isinstance(value, Pair) else value for value in values]
    if function is torch.log or function in (
        torch.maximum,
        torch.minimum,
        torch.multiply,
        torch.divide,
        torch.add,
        torch.pow,
    ):
        plain = [torch.as_tensor(value, dtype=torch.float64) for value in plain]
    return function(*plain, **options)


def _takes_blocks(name: str, scope: Scope, blocks: Mapping[str, Any]) -> bool:
    """Whether an argument that calls this name is a layer that lacks its first argument."""
    return scope.find(name) is None and name in (*LAYERS, "lstm_peephole", "lstm_layernorm")


def _bind_dims(type_: syntax.TypeOf, value: Any, scope: Scope) -> None:
    """Binds the names of dimensions in a block's signature to numbers of the value, or of each sample."""
    dims = list(type_.dims)
    shapes = [tuple(sample.shape) for sample in value] if isinstance(value, Samples) else [tuple(value.shape)]
    leading = next((n for n, dim in enumerate(dims) if isinstance(dim, syntax.Leading)), None)
    for n, dim in enumerate(dims):
        if isinstance(dim, syntax.Name) and dim.text not in scope:
            axis = n if leading is None or n < leading else n - len(dims)
            sizes = [shape[axis] for shape in shapes]
            scope[dim.text] = sizes[0] if len(set(sizes)) == 1 else Samples(sizes)
    if isinstance(type_.size, syntax.Name) and type_.size.text not in scope:
        scope[type_.size.text] = None


def _owns(node: syntax.Expression) -> bool:
    return isinstance(node, syntax.Pipe)


@cache
def _library() -> dict[str, list[syntax.Block]]:
    """The library's blocks by name. Some names have one block for images and one for sequences."""
    blocks: dict[str, list[syntax.Block]] = {}
    for path in sorted(Path(library.__file__).parent.glob("*.net")):
        for item in parse(Source(path.name, path.read_text(encoding="utf-8"))).items:
            if isinstance(item, syntax.Block):
                blocks.setdefault(item.name.text, []).append(item)
    return blocks


def _fitting(blocks: Sequence[syntax.Block], x: Any) -> syntax.Block:
    """The block whose first argument has as many dimensions as a value."""
    rank = (x[0] if isinstance(x, Samples) else x).ndim
    types = [block.parameters[0].type for block in blocks]
    return next(
        (block for block, type_ in zip(blocks, types, strict=True) if type_ and len(type_.dims) == rank), blocks[0]
    )
