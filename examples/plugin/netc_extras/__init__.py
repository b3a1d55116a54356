"""What this package adds to netc: an activation, a reader, an optimizer. Entry points in pyproject.toml name each."""
