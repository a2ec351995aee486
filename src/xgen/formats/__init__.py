"""Models on disk in the forms of others."""
