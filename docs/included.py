"""The files and tables that pages show: `python docs/pages.py` writes them, and a test fails if one has changed.

The body of a fence ```` ```{.net title="examples/iris.net"} ```` is that file, and so is what lies between the comments
`<!-- begin editors/vscode/README.md -->` and `<!-- end -->`. What lies between `<!-- table NAME -->` and `<!-- end -->`
is what the function NAME returns. So pages can be read on GitHub and in an editor too.
"""

import re
from collections.abc import Callable
from pathlib import Path

from netc.compiler.targets.cpu.math.errors import ERRORS

HERE = Path(__file__).parent
_FENCE = re.compile(r'^(```\{\.\w+ title="([^"]+)"\}\n)(.*?)(^```$)', re.MULTILINE | re.DOTALL)
_PART = re.compile(r"^(<!-- begin (\S+) -->\n)(.*?)(^<!-- end -->$)", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^(<!-- table (\w+) -->\n)(.*?)(^<!-- end -->$)", re.MULTILINE | re.DOTALL)


def pages_with_files() -> dict[str, Path]:
    """The pages that show files or tables, by their names relative to `docs/`, without suffix."""
    pages = {path.relative_to(HERE).with_suffix("").as_posix(): path for path in sorted(HERE.rglob("*.md"))}
    return {name: path for name, path in pages.items() if _has_files(path.read_text(encoding="utf-8"))}


def with_files(text: str) -> str:
    """A page with the files and tables that it shows, as they are now.

    Raises OSError if a file cannot be read, and KeyError for an unknown table.
    """
    for pattern, content in _CONTENTS.items():
        text = pattern.sub(lambda match, content=content: match[1] + content(match[2]) + match[4], text)
    return text


def _has_files(text: str) -> bool:
    return any(pattern.search(text) for pattern in _CONTENTS)


def errors_of_functions() -> str:
    """The largest error of each function, in f32 and in f64."""
    rows = [f"| `{name}` | {narrow:g} | {wide:g} |" for name, (narrow, wide) in ERRORS.items()]
    return "\n".join(["| function | f32 | f64 |", "| --- | --- | --- |", *rows])


def _content(name: str) -> str:
    return (HERE.parent / name).read_text(encoding="utf-8").rstrip() + "\n"


TABLES = {function.__name__: function for function in (errors_of_functions,)}
# For each pattern, what lies between its beginning and its end.
_CONTENTS: dict[re.Pattern[str], Callable[[str], str]] = {
    _FENCE: _content,
    _PART: _content,
    _TABLE: lambda name: f"\n{TABLES[name]()}\n\n",
}
