"""The pipeline of the book: notebooks in, a rendered site out, and nothing stale in between."""
