"""What a loss is and what it is worth: one row and one page, for a loss of the registry or a reader's own."""

from __future__ import annotations
