"""Claims on curse."""
