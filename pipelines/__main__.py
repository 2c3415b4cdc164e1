"""`python -m pipelines` is the command line `anygpt`."""

from pipelines.cli.main import main

if __name__ == "__main__":
    main()
