"""The figures of the course, one module for each chapter, and their common style (`style.py`).

A module registers its figures with `@style.picture`; `docs/pictures.py` draws them into `docs/pictures/NAME.svg`.
"""
