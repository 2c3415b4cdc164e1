"""`python -m anygpt` is the command line."""

from pipelines.cli import main

main()
