"""What notebooks and interactive sessions show: models, runs and predictions as HTML, progress, and `%%net`.

IPython is imported by the files that need it alone: `import netc` works without it.
"""
