"""Options that several commands have, with their help texts."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from anygpt.options import MAX_SEED

KEY_VARIABLE = "ANYGPT_API_KEY"

Config = Annotated[str, typer.Option("--config", "-c", help="Shipped name, YAML file or adapter bundle.")]
Overrides = Annotated[Optional[list[str]], typer.Argument(help="Config overrides.", metavar="[KEY=VALUE]...")]  # noqa: UP045
Words = Annotated[
    list[str] | None, typer.Argument(help="The prompt, then config overrides.", metavar="[PROMPT] [KEY=VALUE]...")
]
Images = Annotated[Optional[list[str]], typer.Option("--image", help="A picture to send along.")]  # noqa: UP045
Sounds = Annotated[Optional[list[str]], typer.Option("--audio", help="A sound to send along.")]  # noqa: UP045
Videos = Annotated[Optional[list[str]], typer.Option("--video", help="A video to send along.")]  # noqa: UP045
Clouds = Annotated[Optional[list[str]], typer.Option("--points", help="A point cloud or mesh to send along.")]  # noqa: UP045
ExecutorName = Annotated[
    str, typer.Option("--executor", help="local: all stages in this process; ray: each in one of its own.")
]
Address = Annotated[Optional[str], typer.Option(help="A running Ray cluster, or auto.")]  # noqa: UP045
Deploy = Annotated[Optional[str], typer.Option(help="Where the stages run: a shipped name or YAML file.")]  # noqa: UP045
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="The bundle's config may name what is outside the bundle.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Checkpoints may run Python code that they bring.")
]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
ApiKey = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(envvar=KEY_VARIABLE, help="The key of the service; safer in the environment."),
]
AllowNoKey = Annotated[bool, typer.Option("--allow-no-key", help="Let other machines in without a key.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.", min=0, max=MAX_SEED)]
