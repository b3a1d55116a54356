"""Floor 3: data, programs, training, runs. Knows nothing of the terminal."""
