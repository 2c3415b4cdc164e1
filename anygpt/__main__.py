"""`python -m anygpt` is the command line."""

from pipelines.cli.main import main

main()
