"""The steps of a field's pipe, a file for each kind; steps.py lists them all."""
