"""The files that pages show: `python docs/pages.py` writes them into the pages, and a test fails if one has changed.

The body of a fence ```` ```{.net title="examples/iris.net"} ```` is that file, and so is what lies between the comments
`<!-- begin editors/vscode/README.md -->` and `<!-- end -->`. So pages can be read on GitHub and in an editor too.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
_FENCE = re.compile(r'^(```\{\.\w+ title="([^"]+)"\}\n)(.*?)(^```$)', re.MULTILINE | re.DOTALL)
_PART = re.compile(r"^(<!-- begin (\S+) -->\n)(.*?)(^<!-- end -->$)", re.MULTILINE | re.DOTALL)


def pages_with_files() -> dict[str, Path]:
    """The pages that show files, by their names relative to `docs/`, without suffix."""
    pages = {path.relative_to(HERE).with_suffix("").as_posix(): path for path in sorted(HERE.rglob("*.md"))}
    return {name: path for name, path in pages.items() if _has_files(path.read_text(encoding="utf-8"))}


def with_files(text: str) -> str:
    """A page with the files that it shows, as they are now. Raises OSError if one cannot be read."""
    for pattern in (_FENCE, _PART):
        text = pattern.sub(lambda match: match[1] + _content(match[2]) + match[4], text)
    return text


def _has_files(text: str) -> bool:
    return bool(_FENCE.search(text) or _PART.search(text))


def _content(name: str) -> str:
    return (HERE.parent / name).read_text(encoding="utf-8").rstrip() + "\n"
