"""The verbs of `pyconv`, a module for each group that belongs together."""
