"""What does not come into a corpus: each filter names its fault, and what it takes away is counted."""
