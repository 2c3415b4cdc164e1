"""The command line: all commands, and what becomes of their errors."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import NoReturn

import typer

from anygpt.errors import AnyGPTError, UserError
from pipelines.cli.chat import chat
from pipelines.cli.demo import demo
from pipelines.cli.environment_errors import environment_line
from pipelines.cli.errors import INTERRUPTED, fail
from pipelines.cli.evaluate import eval_matrix
from pipelines.cli.generate import generate
from pipelines.cli.plan import plan
from pipelines.cli.pretrain import pretrain
from pipelines.cli.serve import serve
from pipelines.cli.train import train
from pipelines.cli.world import world_draw, world_read

# typer keeps its usage errors to itself; all of them are of the class that `BadParameter` extends.
UsageError = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="anygpt",
    help="One any-to-any assistant out of frozen, off-the-shelf models.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
eval_app = typer.Typer(help="Measure a stack in the small world.")
world_app = typer.Typer(help="Look into the small world: show scenes, read them back.")
app.add_typer(eval_app, name="eval")
app.add_typer(world_app, name="world")
for command in (generate, chat, serve, demo, plan, train, pretrain):
    app.command()(command)
eval_app.command("matrix")(eval_matrix)
world_app.command("draw")(world_draw)
world_app.command("read")(world_read)


def main() -> None:
    """Run the command line; every error becomes one line on stderr and an exit code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if stream is sys.stdin else "backslashreplace")
    arguments = sys.argv[1:] or ["--help"]
    debug = "--debug" in arguments
    try:
        # typer turns an interrupt into this number; commands themselves return nothing.
        given = [argument for argument in arguments if argument != "--debug"]
        code = app(given, prog_name="anygpt", standalone_mode=False) or 0
        if code == INTERRUPTED:
            fail("interrupted", code, debug=False)
    except UsageError as error:  # type: ignore[misc]
        code = fail(error.format_message(), 2, debug)
    except UserError as error:
        code = fail(str(error), 2, debug)
    except AnyGPTError as error:
        code = fail(str(error), 1, debug)
    except (KeyboardInterrupt, typer.Abort):
        code = fail("interrupted", INTERRUPTED, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        line = environment_line(error)
        bug = f"{type(error).__name__}: {error} (a bug; --debug shows where)"
        code = fail(bug, 1, debug) if line is None else fail(line, 2, debug)
    leave(code)


def leave(code: int) -> NoReturn:
    """End the program, also where a stage that was given up still computes: the usual end would abort in its midst."""
    if any(thread.name == "anygpt: overdue" for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
