"""`netc cache`: where compiled kernels are kept, how many, and from which versions."""

from collections import Counter
from typing import Annotated

import typer

from netc.commands.terminal import say, table


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all of them; they are compiled anew when needed.")
    ] = False,
) -> None:
    """Show the kernel cache, or clear it.

    Example: netc cache --clear
    """
    from netc.compiler.kernels import cache as kept
    from netc.dsl import home
    from netc.runtime.data import store

    folder = home.folder()
    if folder is None:
        say(f"no cache: {home.why_unusable()}")
        return
    if clear:
        tables = len(store.entries())
        store.clear()
        say(f"{kept.clear():,} files{f', {tables} tables' * bool(tables)} removed from {folder}")
        return
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for one in kept.entries():
        parts = one.parts
        made_by = "left over or damaged"
        if parts is not None:
            made_by = f"netc {parts.netc}, numba {parts.numba}, Python {parts.python}, {parts.cpu}"
        counts[made_by] += 1
        sizes[made_by] += one.size
    say(f"{folder}: {counts.total():,} kernels, {sizes.total():,} bytes")
    if counts:
        table(
            [
                ("made by", "kernels", "bytes"),
                *((made_by, f"{counts[made_by]:,}", f"{sizes[made_by]:,}") for made_by in sorted(counts)),
            ],
            right=(1, 2),
        )
    for name, size in store.entries().items():
        say(f"table {name}: {size:,} bytes")
