"""A model's outline (compiler/outline.py) as a picture: places of boxes, SVG and PNG, and a page that folds."""
