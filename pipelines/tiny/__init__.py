"""The embedded default's own wing: its world, the recipes that made it, and the matrix that measures it."""
