"""Draws a judged run: a page, Markdown, charts. Reads the run folder's contract and nothing of the machine."""

from .export import write

__all__ = ["write"]
