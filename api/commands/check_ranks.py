"""`netc check M.net --ranks 64`: what a training step would take on several ranks, and how many of them pay."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from netc.commands.launched import together
from netc.commands.terminal import say, table

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.runtime.distributed.network import Network
    from netc.runtime.distributed.prediction import Prediction

_LATENCY, _BANDWIDTH = 20.0, 5.0  # microseconds and gigabytes per second: two ranks on one machine, over Open MPI
_PAYS = 1.2  # the least factor by which twice as many ranks are faster, if they are worth it


def network_of(latency: float | None, bandwidth: float | None) -> "Network":
    """A network with a latency in microseconds and a bandwidth in gigabytes per second: as they are given, or else as
    the ranks measure it that this command was started on, or else that of ranks on one machine."""
    from netc.runtime.distributed.network import Network

    measured = Network.of(_LATENCY * 1e-6, _BANDWIDTH * 1e9)
    with together() as launched:
        if launched.ranks is not None:
            measured = launched.ranks.network()
    if latency is None and bandwidth is None:
        return measured
    seconds = measured.latency if latency is None else latency * 1e-6
    return Network.of(seconds, measured.bandwidth if bandwidth is None else bandwidth * 1e9, measured.request)


def facts_of_ranks(model: "Model", ranks: int, network: "Network") -> dict[str, Any]:
    """The predictions for 1, 2, 4, ... ranks, as JSON. The step is timed here on synthetic data, by one thread."""
    from netc.runtime.distributed.prediction import predictions

    counts = [2**power for power in range(ranks.bit_length()) if 2**power <= ranks]
    predicted = predictions(model, network, counts)
    return {
        "latency_us": round(network.latency * 1e6, 3),
        "bandwidth_gb_per_second": round(network.bandwidth / 1e9, 3),
        "shards": model.train.shards,
        "pays_until": _last_that_pays(predicted, model.train.shards),
        "steps": [
            {
                "ranks": step.ranks,
                "shared": step.is_shared,
                "seconds": step.seconds,
                "computing": step.computing,
                "gathering": step.gathering,
                "received_bytes": step.nbytes,
                "speed_up": predicted[0].seconds / step.seconds,
            }
            for step in predicted
        ],
    }


def _last_that_pays(predicted: "list[Prediction]", shards: int) -> int:
    """The most ranks that are clearly faster than half of them, if there are shards for them."""
    last = 1
    for half, full in pairwise(predicted):
        if half.seconds < _PAYS * full.seconds or full.ranks > shards:
            break
        last = full.ranks
    return last


def print_ranks(facts: dict[str, Any]) -> None:
    """Prints the predictions as a table."""
    say()
    network = f"{facts['latency_us']:.4g} us, {facts['bandwidth_gb_per_second']:.4g} GB/s"
    say(f"a step on several ranks of one thread, predicted for a network of {network}:")
    rows = [["ranks", "ms", "of them gathering", "MB received", "faster", ""]]
    for step in facts["steps"]:
        mark = " (*)" if step["ranks"] > facts["shards"] else ""
        sent = [step["gathering"] * 1e3, step["received_bytes"] / 1e6] if step["shared"] else [0.0, 0.0]
        numbers = [f"{number:.3f}" for number in (step["seconds"] * 1e3, *sent)]
        repeated = "every rank does the whole step" if step["ranks"] > 1 and not step["shared"] else ""
        rows.append([f"{step['ranks']}{mark}", *numbers, f"{step['speed_up']:.2f}x", repeated])
    table(rows, right=range(len(rows[0]) - 1))
    if facts["steps"][-1]["ranks"] > (shards := facts["shards"]):
        say(f"(*) with as many `shards`; a batch has {shards} of them, and so at most {shards} ranks share it")
    last = facts["pays_until"]
    say(f"more than {last} ranks do not pay" if last > 1 else "several ranks do not pay: the step is too small")
