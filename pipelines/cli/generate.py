"""`anygpt generate`: one request, one reply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from anygpt.errors import RequestError, StageError
from anygpt.options import ReplyOptions
from pipelines.cli import loading
from pipelines.cli.inputs import check_folder, local_path, split_words
from pipelines.cli.options import (
    Address,
    AllowOutside,
    Clouds,
    Config,
    Deploy,
    ExecutorName,
    Images,
    Sounds,
    TrustRemoteCode,
    Videos,
    Words,
)
from pipelines.cli.reply_options import with_reply_options


@with_reply_options
def generate(
    options: ReplyOptions,
    words: Words = None,
    image: Images = None,
    audio: Sounds = None,
    video: Videos = None,
    points: Clouds = None,
    out: Annotated[Path, typer.Option(help="Folder for the reply's media.")] = Path("replies"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    config: Config = "tiny",
    executor: ExecutorName = "local",
    address: Address = None,
    deploy: Deploy = None,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Answer one request; media are saved as reply-1.png and so on, after those that are there."""
    from anygpt.config.loading import load_stack_config
    from pipelines.admission import check_against_config
    from pipelines.assistant import make_request
    from pipelines.cli.terminal import as_json_object, first_number, load_file, print_reply

    prompt, overrides = split_words(words)
    given = {"image": image, "audio": audio, "video": video, "points": points}
    files = [(m, local_path(f"--{m}", path)) for m, paths in given.items() for path in paths or []]
    if not (files or prompt):
        raise RequestError("nothing was asked: give a prompt or a medium, as in: anygpt generate 'Draw a red star.'")
    check_folder(out)
    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    stack = load_stack_config(config, overrides, deploy, **trust)
    for modality, path in files:
        if modality not in stack.encoders:
            known = ", ".join(("text", *stack.encoders))
            raise RequestError(f"--{modality}: '{path}' given, but this stack only takes in: {known}")
    parts = [load_file(modality, path, stack.limits) for modality, path in files] + ([prompt] if prompt else [])
    request = make_request(parts, **options)
    check_against_config(stack, request.options)
    with loading.load_model(config, overrides, executor, address, deploy, **trust) as model:
        reply, paths = print_reply(
            model, request, out, quiet=as_json, first_number=first_number(out), show_seed=options["seed"] is None
        )
    if as_json:
        print(json.dumps(as_json_object(reply, paths), ensure_ascii=False))
    for lost in reply.errors:
        raise StageError(lost.stage, f"{lost.modality} {lost.index + 1} of the reply is lost: {lost.message}")
