"""BEATs: audio → feature tokens."""
