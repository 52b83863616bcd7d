"""Claims on gsce density."""
