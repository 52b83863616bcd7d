"""Claims on centers."""
