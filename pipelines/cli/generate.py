"""`anygpt generate`: one request, one reply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from anygpt.errors import RequestError, StageError
from pipelines.cli import loading
from pipelines.cli.inputs import check_folder, listed, split_words
from pipelines.cli.options import (
    Address,
    AllowOutside,
    Clouds,
    Config,
    Deploy,
    Duration,
    ExecutorName,
    Frames,
    Guidance,
    Images,
    MaxTokens,
    Modalities,
    ReplySeed,
    Sounds,
    Steps,
    Temperature,
    TrustRemoteCode,
    Videos,
    Words,
)


def generate(
    words: Words = None,
    image: Images = None,
    audio: Sounds = None,
    video: Videos = None,
    points: Clouds = None,
    out: Annotated[Path, typer.Option(help="Folder for the reply's media.")] = Path("replies"),
    seed: ReplySeed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    modalities: Modalities = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = 0.0,
    steps: Steps = None,
    guidance: Guidance = None,
    frames: Frames = None,
    duration_s: Duration = None,
    config: Config = "tiny",
    executor: ExecutorName = "local",
    address: Address = None,
    deploy: Deploy = None,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Answer one request; media are saved as reply-1.png and so on, after those that are there."""
    from anygpt.config.loading import load_stack_config
    from pipelines.admission import check_option_limits
    from pipelines.assistant import make_request
    from pipelines.cli.terminal import as_json_object, first_number, load_file, print_reply

    prompt, overrides = split_words(words)
    options: dict[str, Any] = {
        "seed": seed,
        "modalities": listed(modalities),
        "max_tokens": max_tokens,
        "temperature": temperature,
        "steps": steps,
        "guidance": guidance,
        "frames": frames,
        "duration_s": duration_s,
    }
    given = {"image": image, "audio": audio, "video": video, "points": points}
    files = [(modality, path) for modality, paths in given.items() for path in paths or []]
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
    check_option_limits(stack, request.options)
    with loading.load_model(config, overrides, executor, address, deploy, **trust) as model:
        reply, paths = print_reply(
            model, request, out, quiet=as_json, first_number=first_number(out), show_seed=seed is None
        )
    if as_json:
        print(json.dumps(as_json_object(reply, paths), ensure_ascii=False))
    for lost in reply.errors:
        raise StageError(lost.stage, f"{lost.modality} {lost.index + 1} of the reply is lost: {lost.message}")
