"""Configs: their schema, the files that hold their values, and how values become checked objects."""
