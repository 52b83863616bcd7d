"""The theory in SymPy, and nothing else: no torch here. Each formula of the book is written once, in this package."""
