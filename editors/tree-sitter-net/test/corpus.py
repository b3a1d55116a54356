"""Writes the corpus of `tree-sitter test`: the texts of some examples and of the gallery, with their trees.

`python test/corpus.py` compiles the parser with `cc`, and needs the package `tree_sitter`. Look at the difference.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

from tree_sitter import Language, Node, Parser

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
EXAMPLES = ("iris", "names", "cmudict", "sequence", "variational")
CASES = (
    "study_condition_unknown",
    "caret_after_wide_characters",
)


def parser(folder: Path) -> Parser:
    """The parser, compiled into a folder."""
    library, source = folder / "net.so", HERE.parent / "src"
    sources = [source / "parser.c", source / "scanner.c"]
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-I", source, *sources, "-o", library], check=True)
    language = ctypes.CDLL(str(library)).tree_sitter_net
    language.restype = ctypes.c_void_p
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return Parser(Language(capsule(language(), b"tree_sitter.Language", None)))


def shown(node: Node, name: str = "", depth: int = 0) -> str:
    """A tree as `tree-sitter test` compares it: named nodes with their fields, each on a line."""
    parts = [
        shown(child, node.field_name_for_child(number) or "", depth + 1)
        for number, child in enumerate(node.children)
        if child.is_named
    ]
    return "\n".join(["  " * depth + (f"{name}: " if name else "") + f"({node.type}", *parts]) + ")"


def texts() -> dict[str, str]:
    """The texts of the corpus by name."""
    files = [ROOT / "examples" / f"{name}.net" for name in EXAMPLES]
    files += [ROOT / "tests" / "gallery" / name / "right.net" for name in CASES]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}


def corpus(parse: Parser) -> str:
    """The file: for each text a title, the text and its tree."""
    line = "=" * 80
    return "".join(
        f"{line}\n{name}\n{line}\n\n{text}\n{'-' * 80}\n\n{shown(parse.parse(text.encode()).root_node)}\n\n"
        for name, text in texts().items()
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        written = corpus(parser(Path(folder)))
    (HERE / "corpus" / "files.txt").write_text(written, encoding="utf-8")
