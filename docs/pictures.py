"""Draws the figures of the course: `python docs/pictures.py [NAME ...]` writes docs/pictures/NAME.svg.

Most figures train the models that they show, so all of them together take some minutes. Their code is in
`docs/figures/`, one module for each chapter.
"""

import importlib
import pkgutil
import sys

import figures
from figures import style

for _, module, _ in pkgutil.iter_modules(figures.__path__):
    importlib.import_module(f"figures.{module}")


def main() -> None:
    for name in sys.argv[1:] or style.DRAWINGS:
        print(style.write(name))


if __name__ == "__main__":
    main()
