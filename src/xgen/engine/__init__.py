"""Running the decoder: cache, generation, scores, constraints. Deals in ids only."""
