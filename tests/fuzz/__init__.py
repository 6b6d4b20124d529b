"""Damaged and hostile files through every reader; `python -m tests.fuzz --help`."""
