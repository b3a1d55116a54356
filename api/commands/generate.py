"""`netc generate RUN --prompt TEXT`: a text that continues a prompt."""

import sys
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say

_LISTED = 5  # tokens of a prompt that training did not see


def generate(
    run: options.RunFolder,
    prompt: Annotated[
        str, typer.Option(help="The beginning of the text. Without it, a model that reads `shift(tokens)` begins one.")
    ] = "",
    length: Annotated[int, typer.Option(min=1, help="The most tokens to generate.")] = 200,
    temperature: Annotated[
        float,
        typer.Option(min=0.0, help="Below 1, likely tokens become likelier; at 0, always take the likeliest token."),
    ] = 1.0,
    top_k: Annotated[int, typer.Option(min=0, help="Draw only from the K likeliest tokens; 0: from all.")] = 0,
    stop: Annotated[str, typer.Option(help="End after this text too.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the random numbers; the same seed gives the same text.")] = 0,
    threads: options.Threads = None,
    plugins: options.Plugins = None,
) -> None:
    """Continue a text, one token at a time. Each costs one step of the model, and attention a look at
    the earlier ones. The text ends where the model writes the mark of the data's step `ends`.

    Example: netc generate runs/moby_dick --prompt "Call me" --length 400 --temperature 0.7
    """
    import netc
    from netc.dsl.quoting import cell, escaped_lines
    from netc.runtime.runs.generate import generate as pieces
    from netc.runtime.runs.generate import unknown_tokens

    opened = netc.open(run, threads)
    text = pieces(opened, prompt, length, temperature, top_k, stop, seed)
    if unknown := unknown_tokens(opened, prompt):
        listed = ", ".join(f'"{cell(token)}"' for token in unknown[:_LISTED])
        say(f"note: outside of the vocabulary: {listed}{', ...' if len(unknown) > _LISTED else ''}", is_error=True)
    shown = escaped_lines if sys.stdout.isatty() else str
    sys.stdout.write(shown(prompt + next(text, "")))  # a fault is reported before the prompt is printed
    for piece in text:
        sys.stdout.write(shown(piece))
        sys.stdout.flush()
    sys.stdout.write("\n")
