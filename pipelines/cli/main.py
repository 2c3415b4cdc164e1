"""The command line. Exit codes: 0 success, 1 failure while running, 2 bad usage or bad input, 130 interrupted."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tempfile
import threading
import traceback
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer

from anygpt.errors import AnyGPTError, RequestError, StageError, UserError
from anygpt.options import MAX_SEED
from pipelines.cli.environment_errors import environment_line
from pipelines.cli.error_line import error_line
from pipelines.cli.progress import Progress

# typer keeps its usage errors to itself; all of them are of the class that `BadParameter` extends.
UsageError = typer.BadParameter.__bases__[0]
INTERRUPTED = 130
KEY_VARIABLE = "ANYGPT_API_KEY"
OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_0-9]+)*=.*", re.DOTALL)

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

Config = Annotated[str, typer.Option("--config", "-c", help="Shipped name, YAML file or adapter bundle.")]
Overrides = Annotated[Optional[list[str]], typer.Argument(help="Config overrides.", metavar="[KEY=VALUE]...")]  # noqa: UP045
Words = Annotated[
    list[str] | None, typer.Argument(help="The prompt, then config overrides.", metavar="[PROMPT] [KEY=VALUE]...")
]
Images = Annotated[Optional[list[Path]], typer.Option("--image", help="A picture to send along.")]  # noqa: UP045
Sounds = Annotated[Optional[list[Path]], typer.Option("--audio", help="A sound to send along.")]  # noqa: UP045
Videos = Annotated[Optional[list[Path]], typer.Option("--video", help="A video to send along.")]  # noqa: UP045
Clouds = Annotated[Optional[list[Path]], typer.Option("--points", help="A point cloud or mesh to send along.")]  # noqa: UP045
Modalities = Annotated[Optional[str], typer.Option(help="What may be produced, as in: text,image,audio,video")]  # noqa: UP045
MaxTokens = Annotated[Optional[int], typer.Option(help="Most text tokens of the reply.")]  # noqa: UP045
Steps = Annotated[Optional[int], typer.Option(help="Denoising steps.")]  # noqa: UP045
Guidance = Annotated[Optional[float], typer.Option(help="Classifier-free guidance scale.")]  # noqa: UP045
Frames = Annotated[Optional[int], typer.Option(help="Frames of a video.")]  # noqa: UP045
Duration = Annotated[Optional[float], typer.Option("--duration", help="Seconds of a sound.")]  # noqa: UP045
Temperature = Annotated[float, typer.Option(help="0 writes the likeliest text.")]
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
ReplySeed = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--seed", help="The same seed gives the same reply; drawn anew if not given.", min=0, max=MAX_SEED),
]


class Phrasing(str, Enum):
    """Which templates the matrix asks with."""

    held_out = "held_out"
    train = "train"


def split_words(words: list[str] | None) -> tuple[str | None, list[str]]:
    """The prompt, if there is one, and the overrides."""
    given = list(words or [])
    prompt = given.pop(0) if given and not OVERRIDE.fullmatch(given[0]) else None
    for word in given:
        if not OVERRIDE.fullmatch(word):
            raise RequestError(f"argument: '{word}' given after the prompt, expected key.path=value; quote the prompt")
    return prompt, given


def given_key(api_key: str | None) -> str | None:
    """The key without blanks around it; one of blanks alone, also in the environment, is refused.

    Raises:
        ConfigError: if it cannot be a key.
    """
    from pipelines.serving.access import checked_key

    given = os.environ.get(KEY_VARIABLE) if api_key is None else api_key  # typer takes an empty variable for none
    key = checked_key(given, "--api-key")
    if key != given:
        print("anygpt: blanks around the API key are left out", file=sys.stderr)
    return key


def load_model(
    config: str,
    overrides: list[str],
    executor: str = "local",
    address: str | None = None,
    deploy: str | None = None,
    *,
    allow_outside: bool = False,
    trust_remote_code: bool = False,
) -> Any:
    """A shipped or own config, or an adapter bundle."""
    from anygpt.config.loading import load_stack_config

    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    loaded = load_stack_config(config, overrides, deploy, **trust)  # before the slow imports: its errors come at once
    progress = Progress()
    progress.show(f"loading {loaded.name}")
    try:
        from pipelines.assistant import AnyGPT

        if os.path.isdir(config):
            return AnyGPT.from_pretrained(config, overrides, executor=executor, address=address, deploy=deploy, **trust)
        return AnyGPT.from_config(loaded, executor=executor, address=address)
    finally:
        progress.clear()


@app.command()
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
    with load_model(config, overrides, executor, address, deploy, **trust) as model:
        reply, paths = print_reply(
            model, request, out, quiet=as_json, first_number=first_number(out), show_seed=seed is None
        )
    if as_json:
        print(json.dumps(as_json_object(reply, paths), ensure_ascii=False))
    for lost in reply.errors:
        raise StageError(lost.stage, f"{lost.modality} {lost.index + 1} of the reply is lost: {lost.message}")


@app.command()
def chat(
    out: Annotated[Path, typer.Option(help="Folder for the replies' media.")] = Path("replies"),
    seed: ReplySeed = None,
    modalities: Modalities = None,
    temperature: Temperature = 0.0,
    frames: Frames = None,
    duration_s: Duration = None,
    config: Config = "tiny",
    executor: ExecutorName = "local",
    address: Address = None,
    deploy: Deploy = None,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
    overrides: Overrides = None,
) -> None:
    """Talk over several turns. /image FILE [PROMPT] (audio, video, points) attaches it, /help lists all commands."""
    from anygpt.config.loading import load_stack_config
    from pipelines.admission import check_option_limits
    from pipelines.assistant import request_options
    from pipelines.cli.terminal import converse

    options: dict[str, Any] = {
        "seed": seed,
        "modalities": listed(modalities),
        "temperature": temperature,
        "frames": frames,
        "duration_s": duration_s,
    }
    asked = request_options(**options)
    check_folder(out)
    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    check_option_limits(load_stack_config(config, overrides or [], deploy, **trust), asked)
    with load_model(config, overrides or [], executor, address, deploy, **trust) as model:
        converse(model, out, options)


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    api_key: ApiKey = None,
    allow_no_key: AllowNoKey = False,
    config: Config = "tiny",
    executor: ExecutorName = "local",
    address: Address = None,
    deploy: Deploy = None,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
    overrides: Overrides = None,
) -> None:
    """Serve OpenAI's HTTP interface: chat completions and images."""
    from pipelines.serving.access import check_exposure
    from pipelines.serving.server import serve as run

    key = given_key(api_key)
    check_exposure(host, key, allow_no_key)
    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    run(lambda: load_model(config, overrides or [], executor, address, deploy, **trust), host, port, key)


@app.command()
def demo(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
    server: Annotated[
        str | None, typer.Option(help="A running service to talk to, as in http://127.0.0.1:8000.")
    ] = None,
    api_key: ApiKey = None,
    allow_no_key: AllowNoKey = False,
    config: Config = "tiny",
    executor: ExecutorName = "local",
    address: Address = None,
    deploy: Deploy = None,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
    overrides: Overrides = None,
) -> None:
    """A chat in the browser, with this program's own stack or a running service."""
    from pipelines.demo.page import launch_page
    from pipelines.serving.access import check_exposure

    check_exposure(host, None, allow_no_key)  # the page itself asks for no key
    if server is not None:
        from anygpt.config.loading import load_stack_config
        from pipelines.demo.http_backend import HttpBackend

        page_limits = load_stack_config(config, overrides or [], deploy).service
        launch_page(HttpBackend(server, given_key(api_key), page_limits), host, port)
        return
    from pipelines.demo.backends import LocalBackend

    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    with load_model(config, overrides or [], executor, address, deploy, **trust) as model:
        launch_page(LocalBackend(model), host, port)


@eval_app.command("matrix")
def eval_matrix(
    trials: Annotated[int, typer.Option(help="Trials a cell.", min=1)] = 100,
    out: Annotated[Optional[Path], typer.Option(help="Folder for matrix.json and matrix.png.")] = None,  # noqa: UP045
    seed: Seed = 0,
    phrasing: Annotated[Phrasing, typer.Option(help="held_out was never trained on.")] = Phrasing.held_out,
    config: Config = "tiny",
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
    overrides: Overrides = None,
) -> None:
    """The any-to-any matrix: every input modality to every output modality, read back by the oracle."""
    from pipelines.tiny.evaluation.matrix import run_matrix, write_report

    if out:
        check_folder(out)
    with load_model(config, overrides or [], allow_outside=allow_outside, trust_remote_code=trust_remote_code) as model:
        report = run_matrix(model, trials=trials, seed=seed, split=phrasing.value)
    print(report)
    if out:
        write_report(report, out)


@app.command()
def plan(
    gpu: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Memory of every GPU, as in 24GiB,24GiB: does the stack fit?"),
    ] = None,
    config: Config = "tiny",
    executor: ExecutorName = "local",
    deploy: Deploy = None,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
    overrides: Overrides = None,
) -> None:
    """What a stack needs, stage by stage; reads no weights and downloads nothing."""
    from anygpt.config.loading import load_stack_config
    from pipelines.planning.devices import parse_gpus, placing_rule

    gpus = None if gpu is None else parse_gpus(gpu)
    placing_rule(executor)
    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    loaded = load_stack_config(config, overrides or [], deploy, **trust)
    from pipelines.planning.plan import make_plan

    print(make_plan(loaded, gpus, executor))


@app.command()
def train(
    stage: Annotated[str, typer.Argument(help="align-input, align-output, instruct, or a training YAML file.")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the bundle, runs/STAGE if not given; an unfinished run goes on.")
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on although data or frozen weights have changed.")
    ] = False,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Train adapters; stop with Ctrl-C and run again to go on."""
    from anygpt.config.bundles import stands_alone
    from anygpt.errors import ConfigError
    from pipelines.training.objectives import OBJECTIVES

    is_file = stage.endswith((".yaml", ".yml"))
    if not is_file and stage not in OBJECTIVES:
        raise ConfigError(f"stage: '{stage}' given, expected {', '.join(OBJECTIVES)} or a YAML file")
    from pipelines.training.trainer import load_training_config
    from pipelines.training.trainer import train as run

    config = load_training_config(stage if is_file else f"training/{stage}", overrides or [])
    folder = out or Path("runs") / config.objective
    check_folder(folder)
    finished = run(
        config,
        folder,
        accept_changes=accept_changes,
        allow_outside=allow_outside,
        trust_remote_code=trust_remote_code,
    )
    if finished is None:
        line = f"interrupted; the state is in {folder}, the same command goes on from there"
        sys.exit(fail(line, INTERRUPTED, debug=False))
    option = "" if stands_alone(folder) else " --allow-outside"  # for your own bundle, over your own files
    print(f"trained; try it with: anygpt chat --config {folder}{option}", file=sys.stderr)
    print(folder)


@app.command()
def pretrain(
    part: Annotated[str, typer.Argument(help="A part, or all.")],
    out: Annotated[Path, typer.Option(help="Folder for all parts; an unfinished run goes on.")] = Path(
        "runs/pretraining"
    ),
) -> None:
    """Make the embedded default again, from the world alone."""
    from anygpt.checkpoints.quiet import quiet_libraries
    from pipelines.tiny.recipes.recipes import run_recipes

    check_folder(out)
    with quiet_libraries():
        run_recipes(part, out)


@world_app.command("draw")
def world_draw(
    words: Annotated[str, typer.Argument(help="A scene, as in: 'a small red circle at the top left'.")],
    out: Annotated[Path, typer.Option(help="File to write: .png, .wav, .mp4 or .ply.")] = Path("scene.png"),
    seed: Seed = 0,
) -> None:
    """Draw, play, film or scan a scene exactly, without any model."""
    from anygpt.media.kinds import kind_of_file, save_medium
    from pipelines.tiny.world.oracle import read_text
    from pipelines.tiny.world.phrases import canonical
    from pipelines.tiny.world.rendering import render
    from pipelines.tiny.world.scenes import Scene

    reading = read_text(canonical(words))
    if reading.shape is None or reading.colour is None:
        raise RequestError(
            f"scene: '{words}' given, expected one shape and one colour, as in: a small red circle at the top"
        )
    modality = kind_of_file(out)
    size, position, motion = reading.size or "large", reading.position or "center", reading.motion or "still"
    scene = Scene(reading.shape, reading.colour, size, position, motion).in_modality(modality)
    save_medium(render(scene, modality, seed), out)
    print(out)


@world_app.command("read")
def world_read(file: Annotated[Path, typer.Argument(help="A picture, sound, video or point cloud.")]) -> None:
    """Read a file's attributes back by signal processing."""
    from anygpt.config.schema import Limits
    from anygpt.media.kinds import kind_of_file
    from pipelines.cli.terminal import load_file
    from pipelines.tiny.world.oracle import READERS
    from pipelines.tiny.world.scenes import attributes_of

    modality = kind_of_file(file)
    reading = READERS[modality](load_file(modality, file, Limits()))
    print(json.dumps({attribute: reading.get(attribute) for attribute in attributes_of(modality)}))


def listed(modalities: str | None) -> list[str] | None:
    """ "text,image" → ["text", "image"]."""
    return None if modalities is None else [name.strip() for name in modalities.split(",")]


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written, before anything is computed.

    Raises:
        RequestError: if the path is a file, impossible or not writable.
    """
    try:
        parents = folder.absolute().parents
    except OSError as error:
        raise RequestError(f"--out: '{folder}' given, but the working directory is gone; change to another") from error
    existing = next((path for path in (folder, *parents) if os.path.lexists(path)), Path("/"))
    if not existing.is_dir():
        kind = "a link to nothing" if existing.is_symlink() else "a file"
        raise RequestError(f"--out: '{folder}' given, but '{existing}' is {kind}; give a folder")
    try:
        with tempfile.TemporaryDirectory(prefix=".anygpt-", dir=existing):
            pass
    except OSError as error:
        raise RequestError(
            f"--out: '{folder}' given, but '{existing}' cannot be written ({error.strerror}); give another folder"
        ) from error
    try:
        folder.stat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"--out: '{folder}' given, which is no path ({reason}); give another folder") from error


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


def fail(message: str, code: int, debug: bool) -> int:
    """One line on stderr."""
    if debug:
        traceback.print_exc()
    print(error_line(message), file=sys.stderr)
    return code
