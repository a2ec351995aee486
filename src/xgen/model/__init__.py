"""The decoder: its shape, its layers, its attention."""
