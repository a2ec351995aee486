"""A recipe becomes a model: rows, step, loop, state."""
