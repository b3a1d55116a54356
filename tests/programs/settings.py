"""The `train` block: optimizers with options, batch and accumulation, clipping, schedules, truncation, precision."""

from collections.abc import Callable

from tests.programs.growth import Growth

OPTIMIZERS = (
    "sgd(lr = 0.1)",
    "sgd(lr = 0.05, momentum = 0.9)",
    "sgd(0.05, 0.9, nesterov = true, decay = 0.01)",
    "adam(lr = 0.01)",
    "adam(lr = 0.02, beta1 = 0.5, beta2 = 0.9, decay = 0.1)",
    "adamw(lr = 0.01, decay = 0.1)",
    "rmsprop(lr = 0.01)",
    "rmsprop(0.01, alpha = 0.9, momentum = 0.9, decay = 0.1)",
    "adagrad()",
    "adagrad(0.1, lr_decay = 0.1, decay = 0.01)",
    "sgd(0.05, momentum = 0.9, lazy = true)",
    "adamw(lr = 0.01, lazy = true)",
    "adagrad(0.1, lazy = true)",
)
SCHEDULES = (
    "cosine(warmup = 1)",
    "step_decay(every = 1, factor = 0.5)",
    "exponential(factor = 0.9)",
    "1 / (1 + step)",
    "1 - 0.9 * progress",
    "where(step < 2, 0.5, 1)",
    "plateau(patience = 1, factor = 0.5)",
)
SHARDS = ("1", "2", "4", "8", "16", "32", "64")
BATCHES = (1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 18, 20, 24, 31, 32, 33, 40)


def _clip_norm(g: Growth) -> str:
    return g.draw.choice(("0.05", "1", "1000"))


def _clip_value(g: Growth) -> str:
    return g.draw.choice(("0.01", "0.5"))


def _schedule(g: Growth) -> str:
    return g.draw.choice(SCHEDULES)


def _freeze(g: Growth) -> str | None:
    patterns = _patterns(g)
    return f'"{g.draw.choice(patterns)}"' if patterns else None


def _lr_scale(g: Growth) -> str | None:
    patterns = _patterns(g)
    return f'("{g.draw.choice(patterns)}" = {g.draw.choice(("0.1", "2"))})' if patterns else None


def _loss_scale(g: Growth) -> str | None:
    names = g.shared.loss_names
    return f"({g.draw.choice(names)} = {g.draw.choice(('0.5', 'minimum(1, (1 + step) / 3)'))})" if names else None


def _memory(g: Growth) -> str | None:
    return '"2 GB"' if set(g.shared.least) <= set(g.shared.bounds) else None


def _patterns(g: Growth) -> list[str]:
    """Patterns that match some parameter."""
    parameters = [value.name for value in g.values.values() if value.is_parameter]
    text = "\n".join(statement.head for statement in g.statements)
    layers = ["*.W", "*.b"] if "dense(" in text or "conv(" in text or "gru(" in text else []
    return [*parameters, *layers]


MORE: dict[str, tuple[float, Callable[[Growth], str | None]]] = {
    "clip_norm": (0.15, _clip_norm),
    "clip_value": (0.1, _clip_value),
    "schedule": (0.15, _schedule),
    "freeze": (0.12, _freeze),
    "lr_scale": (0.12, _lr_scale),
    "loss_scale": (0.12, _loss_scale),
    "memory": (0.08, _memory),
}


def settings(g: Growth) -> tuple[tuple[str, str], ...]:
    """Settings of a `train` block by name."""
    precision = g.draw.choices(list(g.profile.precision), list(g.profile.precision.values()))[0]
    batch = g.draw.choice([n for n in BATCHES if n <= g.profile.batch])
    chosen = {"optimizer": g.draw.choice(OPTIMIZERS), "precision": precision, "batch": str(batch)}
    g.feature(chosen["optimizer"].partition("(")[0], precision)
    for name, (chance, rule) in MORE.items():
        value = rule(g) if g.chance(chance) else None
        if value is not None:
            chosen[name] = value
            g.feature(name)
    if g.chance(0.18) and "lazy" not in chosen["optimizer"]:
        chosen["accumulate"] = str(g.draw.choice((2, 3, 4)))
        g.feature("accumulate")
    elif g.shared.least and not g.shared.bounds and g.chance(0.4):
        chosen["truncate"] = f"({g.draw.choice(sorted(g.shared.least))} = {g.draw.choice((1, 2, 3))})"
        g.feature("truncate")
    if g.chance(0.1):
        chosen["shards"] = g.draw.choice(SHARDS)
        g.feature("shards")
    return tuple(chosen.items())


def samples(g: Growth, batch: int, accumulate: int) -> int:
    """The number of samples in the data: every remainder of the batch, fewer than a batch, or one."""
    most = batch * accumulate
    return max(
        1,
        min(
            60,
            g.draw.choice(
                (
                    1,
                    batch,
                    batch - 1,
                    batch // 2,
                    most,
                    most - 1,
                    most + 1,
                    g.draw.randint(1, most),
                    g.draw.randint(1, 2 * batch),
                )
            ),
        ),
    )
