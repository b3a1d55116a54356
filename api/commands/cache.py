"""`netc cache`: the content of the cache, its size limit, and the versions that compiled its kernels."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from netc.commands.terminal import say, table

if TYPE_CHECKING:
    from netc.runtime.data.tables import copies


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything in the cache.")] = False,
) -> None:
    """Show the cache of compiled kernels and copies of data, or clear it. If it reaches its size limit
    (NETC_CACHE_LIMIT), what was used least recently is removed.

    Example: netc cache --clear
    """
    from netc.dsl.storage import eviction, home
    from netc.runtime.data.tables import copies

    folder = home.usable_folder()
    if folder is None:
        say(f"no cache: {home.why_unusable()}")
        return
    eviction.sweep(folder)
    if clear:
        entries = list(eviction.entries(folder))
        for entry in entries:
            eviction.remove(entry)
        kinds = "kernels, parsers, steps, predictions, bounds of the machine and copies of data"
        say(f"{len(entries):,} {kinds} removed from {folder}")
        return
    if old := copies.forget_old():
        say(f"copies of data that is gone or has changed: {old:,} removed")
    total = sum(entry.size for entry in eviction.entries(folder))
    say(f"{folder}: {total:,} bytes of at most {home.limit():,} (NETC_CACHE_LIMIT)")
    _show_kernels()
    _show_copies(copies.copies())


def _show_kernels() -> None:
    """Prints the number and size of the kernels of each toolchain."""
    from netc.compiler.targets.cpu import cache as kernels

    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for entry in kernels.entries():
        toolchain = "damaged"
        if (parts := entry.parts) is not None:
            toolchain = f"netc {parts.netc}, llvmlite {parts.llvmlite}, Python {parts.python}, {parts.cpu}"
        counts[toolchain] += 1
        sizes[toolchain] += entry.size
    if counts:
        rows = [(toolchain, f"{counts[toolchain]:,}", f"{sizes[toolchain]:,}") for toolchain in sorted(counts)]
        table([("compiled by", "kernels", "bytes"), *rows], right=(1, 2))


def _show_copies(entries: "list[copies.Copy]") -> None:
    """Prints the copies of data with the files that they were made from, and when they were last used."""
    if not entries:
        return
    rows = [
        (
            copy.origin.path if copy.origin else "",
            f"{copy.entry.size:,}",
            time.strftime("%Y-%m-%d", time.localtime(copy.entry.used / 1e9)),
        )
        for copy in entries
    ]
    table([("copy of", "bytes", "last used"), *rows], right=(1,))
