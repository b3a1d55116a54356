"""The answer of `netc ops` for a name that is not an entry of the reference: a command, an option, an argument, another
library's name."""

import re
from collections.abc import Iterable, Iterator

from netc.dsl.diagnostics import nearest_name
from netc.dsl.mistakes.synonyms import Kind, synonym
from netc.reference import Entry

_LISTED = 6  # entries with an argument of this name


def elsewhere(name: str, entries: Iterable[Entry]) -> list[str]:
    """The lines that say where a name is found which is not an entry; empty if netc does not know it at all."""
    if not re.search(r"\w", name):
        return []
    entries = list(entries)
    lines = [*_of_commands(name), *_of_readers(name), *_in_signatures(name, entries)]
    return lines or [*_of_another_library(name)] or [*_nearest(name, entries)]


def _of_commands(name: str) -> Iterator[str]:
    from netc.commands.table import COMMANDS, app_of

    if name in COMMANDS:
        yield f"`{name}` is a command: `netc {name} --help`"
        return
    from typer.main import get_command

    word, group = f"--{name.replace('_', '-').lstrip('-')}", get_command(app_of())
    takers = [
        f"`netc {command}`"
        for command, parsed in group.commands.items()  # type: ignore[attr-defined]
        if any(word in parameter.opts for parameter in parsed.params)
    ]
    if takers:
        yield f"`{word}` is an option of {', '.join(takers)}"


def _of_readers(name: str) -> Iterator[str]:
    from netc.runtime.data.readers.options import OPTIONS

    takers = {reader: options[name].example for reader, options in OPTIONS.items() if name in options}
    if takers:
        readers = ", ".join(f"`{reader}`" for reader in takers)
        yield f"`{name}` is an option of {readers}: {next(iter(takers.values()))}"


def _in_signatures(name: str, entries: Iterable[Entry]) -> Iterator[str]:
    """The entries whose signature has the name as an argument or as a word."""
    word = re.compile(rf"\b{re.escape(name)}\b")
    signatures = list(dict.fromkeys(entry.signature for entry in entries if word.search(entry.signature)))
    if signatures:
        yield f"`{name}` stands in:"
        yield from (f"  {signature}" for signature in signatures[:_LISTED])
        if len(signatures) > _LISTED:
            yield f"  and {len(signatures) - _LISTED} more"


def _of_another_library(name: str) -> Iterator[str]:
    word = name.rpartition(".")[2]
    hints = dict.fromkeys(hint for kind in Kind if (hint := synonym(word, kind, None)) is not None)
    if hints:
        yield f"there is no `{name}`: {'; '.join(hints)}"


def _nearest(name: str, entries: Iterable[Entry]) -> Iterator[str]:
    from netc.commands.table import COMMANDS

    names = [entry.name for entry in entries]
    match = nearest_name(name, [*names, *COMMANDS])
    if match is not None:
        meant = match if match in names else f"netc {match}"
        yield f"there is no `{name}`: did you mean `{meant}`?"
