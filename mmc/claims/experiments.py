"""Claims on experiments."""
