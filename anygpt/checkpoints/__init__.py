"""Finding, reading and checking the weights of checkpoints, and what is said of those that cannot be used."""
