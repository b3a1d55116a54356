"""What this package adds to netc: an activation, a pass, a reader, a step of the data, an optimizer, a metric and a schedule. Entry points in pyproject.toml name each."""
