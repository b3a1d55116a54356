"""What a program ends with: losses with their targets, penalties, outputs and watched values."""

from collections.abc import Callable

from tests.programs.growth import Growth
from tests.programs.program import Statement
from tests.programs.values import Type, Value, floats


def _target(g: Growth, type_: Type) -> str:
    """A target of this type, declared at the top of the model."""
    names = [target.names[0] for target in g.shared.targets if target.types == (type_,)]
    if names and g.chance(0.2):
        return g.draw.choice(names)
    name = g.new_name("y")
    g.shared.targets.append(Statement("target", (name,), "", (), (type_,)))
    return name


def _may_be_target(value: Value) -> bool:
    """Whether a field may have the dimensions of a value: what a file can write down, and one varying one at most."""
    return not value.type.is_held and all(isinstance(dim, int) or dim.is_expression for dim in value.type.dims)


Ending = tuple[str, tuple[str, ...]]  # a template and its operands


def _regression(g: Growth, x: Value) -> Ending | None:
    if not x.is_batched or not _may_be_target(x) or x.scale > 30:
        return None
    template = g.draw.choice(
        (
            "mse({0}, {1})",
            "huber({0}, {1})",
            "square({0} - {1})",
            "abs({0} - {1})",
            "mae({0}, {1})",
            "binary_cross_entropy({0}, {1})",
            "log(1 + square({0} - {1}))",
        )
    )
    return template, (x.name, _target(g, x.type))


def _classification(g: Growth, x: Value) -> Ending | None:
    classes = x.type.dims[-1] if x.type.dims else 0
    if not x.is_batched or not _may_be_target(x) or not isinstance(classes, int) or not 2 <= classes <= 65:
        return None
    label = _target(g, Type("class", x.type.dims[:-1], classes))
    template = g.draw.choice(
        ("cross_entropy({0}, {1})", "cross_entropy({0}, {1})", "hinge({0}, {1})", "nll(log_softmax({0}), {1})")
    )
    g.feature("classification")
    return template, (x.name, label)


def _cosine(g: Growth, x: Value) -> Ending | None:
    if (
        not x.is_batched
        or not _may_be_target(x)
        or x.type.rank < 1
        or x.type.dims[-1] == 1
        or not isinstance(x.type.dims[-1], int)
    ):
        return None
    return "cosine_distance(1.5 + sigmoid({0}), {1})", (x.name, _target(g, x.type))


def _alone(g: Growth, x: Value) -> Ending | None:
    """A loss without a target; of what does not depend on the sample too."""
    if x.type.is_held or x.scale > 30:
        return None
    templates = ["0.3 * square({0})", "abs({0} - 0.2)", "0.1 * {0}", "softplus({0})"]
    if x.is_batched and x.scale <= 3:
        templates.append("0.1 * kl({0}, tanh({0}))")
    return g.draw.choice(templates), (x.name,)


def _per_sample(g: Growth, x: Value) -> Ending | None:
    if not x.is_batched or not x.type.rank or x.scale > 30:
        return None
    return g.draw.choice(("sum(0.1 * square({0}))", "mean({0} ** 2)", "max(abs({0}))")), (x.name,)


def _slope(g: Growth, x: Value) -> Ending | None:
    """A penalty on a derivative."""
    source = g.pick_float(
        lambda value: (
            value.number in x.ancestors
            and value.number not in x.mixed
            and value.number != x.number
            and not value.type.is_held
        )
    )
    if not x.is_batched or x.type.rank or source is None or not source.is_batched:
        return None
    g.feature("grad", "grad in a loss")
    return "0.1 * sum(square(grad({0}, {1})))", (x.name, source.name)


ENDINGS: dict[Callable[[Growth, Value], Ending | None], float] = {
    _regression: 5,
    _classification: 3,
    _cosine: 0.5,
    _alone: 1.5,
    _per_sample: 1,
    _slope: 1.2,
}


def _weighted(g: Growth, x: Value, ending: Ending) -> Ending:
    """A loss divided by the sum of weights: of a value, of an input, or of the label's class."""
    template, operands = ending
    n = len(operands)
    label = operands[1] if "cross_entropy({0}" in template and "binary" not in template else None
    if label is not None and x.type.rank == 1 and g.chance(0.7):
        g.feature("class weights")
        return f"weighted({template}, class_weights({{1}})[{{1}}])", operands
    weight = g.pick_float(lambda value: value.type == floats(*_loss_dims(template, x)) and value.is_batched)
    if weight is None:
        return ending
    return f"weighted({template}, 0.2 + sigmoid({{{n}}}))", (*operands, weight.name)


def _loss_dims(template: str, x: Value) -> tuple:  # type: ignore[type-arg]
    """The dimensions of a loss of a sample."""
    name = template.split("(")[0]
    if name in ("sum", "mean", "max"):
        return ()
    if name in ("cross_entropy", "hinge", "nll", "cosine_distance"):
        return x.type.dims[:-1]
    if name in ("mse", "huber", "mae"):
        return x.type.dims[:1] if x.type.steps else ()
    return x.type.dims


def losses(g: Growth) -> bool:
    """One to three losses, the first of which depends on a parameter; penalties now and then."""
    count = g.draw.choice((1, 1, 1, 2, 2, 3))
    done = 0
    for _ in range(12 * count):
        x = g.pick(
            lambda value: value.type.is_float and value.is_trained and not value.type.is_held and value.scale <= 30
        )
        if x is None:
            return False
        rule = g.draw.choices(list(ENDINGS), list(ENDINGS.values()))[0]
        ending = rule(g, x)
        if ending is None:
            continue
        if x.is_batched and "kl(" not in ending[0] and g.chance(0.35):
            weighted = _weighted(g, x, ending)
            if weighted != ending:
                g.feature("weighted")
            ending = weighted
        name = f"loss{done + 1}" if done or g.chance(0.5) or "(" not in ending[0][:20] else ""
        template = f" = {ending[0]}" if name else ending[0]
        if not name and not ending[0][0].isalpha():
            name, template = f"loss{done + 1}", f" = {ending[0]}"
        g.add(Statement("loss", (name,) if name else (), template, ending[1]))
        if name:
            g.shared.loss_names.append(name)
        done += 1
        if done == count:
            break
    if done > 1:
        g.feature("several losses")
    if g.chance(0.2):
        _penalty(g)
    return done > 0


def _penalty(g: Growth) -> None:
    parameter = g.pick(lambda value: value.is_parameter)
    if parameter is not None:
        template = g.draw.choice((" = 0.01 * sum(square({0}))", " = 0.01 * l1({0})", ' = 0.01 * l2(weights("*"))'))
        operands = (parameter.name,) if "{0}" in template else ()
    else:
        template, operands = g.draw.choice((' = 0.01 * l2(weights("*.W"))', ' = 0.001 * l1(weights("*.W"))')), ()
    g.add(Statement("loss", ("penalty",), template, operands))
    g.shared.loss_names.append("penalty")
    g.feature("penalty")


def outputs(g: Growth) -> None:
    """None to three outputs, and watched values."""
    for _ in range(g.draw.choice((0, 1, 1, 2, 3))):
        x = g.pick(lambda value: value.is_batched and value.type.kind != "bool" and g.reads_input(value))
        if x is None or (x.type.is_held and g.chance(0.5)):
            continue
        name = g.new_name("out")
        template = g.draw.choice((" = {0}", " = {0}", " = 2 * {0}", " = tanh({0})")) if x.type.is_float else " = {0}"
        g.add(Statement("output", (name,), template, (x.name,)))
        g.feature("output")
    if g.chance(0.2):
        x = g.pick(lambda value: value.type.is_float and not value.type.is_held)
        if x is not None:
            g.add(Statement("watch", (g.new_name("watch"),), " = {0}", (x.name,)))
            g.feature("watch")
