"""From a nest of loops to the text of its kernel: a file for each kind of reduction, and the decisions they share."""
