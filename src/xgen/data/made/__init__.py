"""Questions made by code: their answers are known, since what asks also wrote the place, or chose it."""
