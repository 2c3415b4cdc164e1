"""The shipped configs of real checkpoints."""

REAL_STACKS = ("nextgpt-7b", "small-gpu")
