"""Runs the notebook of the docs: `python docs/notebook.py` writes its outputs into docs/notebook.ipynb, and as a page.

docs/notebook.md is made from the notebook alone; a test compares them, and runs the notebook again.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def executed(folder: Path) -> Any:
    """The notebook with the outputs that it has now, run in a folder that has the examples."""
    import nbclient
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    return notebook


def page() -> str:
    """The notebook as Markdown."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return "\n".join(part for cell in cells for part in _cell(cell)).rstrip() + "\n"


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield f"{source}\n"
        return
    if source.startswith("%%net"):
        magic, _, text = source.partition("\n")
        yield f"`{magic}`\n\n```net\n{text.rstrip()}\n```\n"
    else:
        yield f"```python\n{source}\n```\n"
    for output in cell["outputs"]:
        yield from _output(output)


def _output(output: dict[str, Any]) -> Iterator[str]:
    """An output as HTML if it has that form, or else as text."""
    data = output.get("data", {})
    if "text/html" in data:
        yield f"{''.join(data['text/html'])}\n"
    else:
        text = "".join(data["text/plain"] if data else output["text"])
        yield f"```\n{text.rstrip()}\n```\n"


def _stable(notebook: Any) -> None:
    """Removes what differs from run to run and nobody reads."""
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.metadata = {}


def main() -> None:
    """Runs the notebook, and writes it with its outputs."""
    import nbformat

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "examples").symlink_to(ROOT / "examples")
        notebook = executed(Path(name))
    _stable(notebook)
    nbformat.write(notebook, NOTEBOOK)
    NOTEBOOK.with_suffix(".md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
