"""Claims on density."""
