"""`netc generate RUN --prompt TEXT`: a text that goes on from a prompt."""

import sys
from typing import Annotated

import typer

from netc.commands import options


def generate(
    run: options.RunFolder,
    prompt: Annotated[str, typer.Option(help="What the text begins with.")],
    length: Annotated[int, typer.Option(min=1, help="How many tokens follow at most.")] = 200,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Below 1 the likely is likelier still, at 0 the likeliest alone is taken.")
    ] = 1.0,
    top_k: Annotated[int, typer.Option(min=0, help="Draw from so many of the likeliest tokens only; 0: from all.")] = 0,
    stop: Annotated[str, typer.Option(help="End after this text.")] = "",
    seed: Annotated[int, typer.Option(help="Of what is drawn; the same seed gives the same text.")] = 0,
    threads: options.Threads = None,
    plugins: options.Plugins = None,
) -> None:
    """Go on with a text, a token at a time: each costs the same, however long the text is.

    Example: netc generate runs/moby_dick --prompt "Call me" --length 400 --temperature 0.7
    """
    import netc
    from netc.dsl.quoting import escaped_lines
    from netc.runtime.runs.generate import generate as pieces

    opened = netc.open(run, threads)
    text = pieces(opened, prompt, length, temperature, top_k, stop, seed)
    shown = escaped_lines if sys.stdout.isatty() else str
    sys.stdout.write(shown(prompt + next(text, "")))  # a fault comes before the prompt is told
    for piece in text:
        sys.stdout.write(shown(piece))
        sys.stdout.flush()
    sys.stdout.write("\n")
