"""Why a checkpoint cannot be loaded, from what is there: the usual mistakes, each with its fix.

Asked only once a library has failed, whose own words are often about something else ("Couldn't instantiate the backend
tokenizer" of an empty folder).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anygpt.checkpoints.files import lfs_pointer, weights_advice

CONFIG, PIPELINE = "config.json", "model_index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_ADDRESS = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<name>[\w.-]+/[\w.-]+)")
_WEIGHTS = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")


def diagnose(
    error: BaseException, source: str, *, wanted: str = CONFIG, needed: Sequence[Sequence[str]] = ()
) -> str | None:
    """What is wrong with a checkpoint and what helps, or None where nothing is seen.

    Args:
        error: what the library raised.
        source: a folder, a file or a hub name.
        wanted: the file by which a folder of the right kind is known.
        needed: other files of which the folder must have one each: [("tokenizer.json", "vocab.json")].
    """
    if os.path.isdir(source):
        return _of_folder(Path(source), wanted, needed)
    if os.path.isfile(source):
        return _of_file(Path(source), wanted)
    return _of_name(error, source)


def _of_folder(folder: Path, wanted: str, needed: Sequence[Sequence[str]]) -> str | None:
    if not any(folder.iterdir()):
        return "the folder is empty; copy or download the checkpoint again"
    pointer = lfs_pointer(folder)
    if pointer:
        return f"{pointer} is a Git LFS pointer, not the file itself; run 'git lfs pull' in the checkpoint's folder"
    if not (folder / wanted).is_file():
        return f"the folder has no {wanted}; {_instead(folder, wanted)}"
    try:
        values = json.loads((folder / wanted).read_text(encoding="utf-8"))
    except (OSError, ValueError) as damage:
        return f"its {wanted} is damaged ({str(damage).splitlines()[0]}); get the file again"
    if not isinstance(values, dict):
        return f"its {wanted} holds a {type(values).__name__}, expected a JSON object; get the file again"
    if wanted == CONFIG and not values.get("model_type"):
        return f"its {wanted} names no model_type; get the file again from where the checkpoint is from"
    advice = weights_advice(folder) if wanted == CONFIG else None
    if advice:
        return advice
    for alternatives in needed:
        if not any((folder / name).is_file() for name in alternatives):
            return f"the folder has no {alternatives[0]}; copy it from where the checkpoint is from"
    return None


def _instead(folder: Path, wanted: str) -> str:
    """What a folder without the wanted file is, and what to give in its place."""
    below = sorted(path.parent.name for path in folder.glob(f"*/{wanted}"))
    snapshots = sorted(path.parent for path in folder.glob(f"snapshots/*/{wanted}"))
    if snapshots:
        return f"this is the hub cache's own folder, give '{snapshots[-1]}' or the hub name"
    if (folder.parent / PIPELINE).is_file():
        return f"this is a part of the pipeline '{folder.parent}'" + (", give that" if wanted == PIPELINE else "")
    if (folder / "signal_tokens.safetensors").is_file():
        return "this is an adapter bundle, give it as adapters= or --config"
    if (folder / "adapter_config.json").is_file():
        return "this is a LoRA alone; merge it with its base model, save the result and give its folder"
    if (folder / PIPELINE).is_file():
        return f"this is a diffusers pipeline ({_object(folder / PIPELINE).get('_class_name')})"
    if (folder / CONFIG).is_file():
        return f"this is a single model of type '{_object(folder / CONFIG).get('model_type')}'"
    if below:
        return f"its folder '{below[0]}' has one, give that"
    weights = [file.name for file in sorted(folder.iterdir()) if file.suffix in (*_WEIGHTS, ".gguf")]
    if weights:
        return f"it holds {weights[0]} alone; copy the other files from where the checkpoint is from"
    return "expected the folder of a whole checkpoint"


def _of_file(file: Path, wanted: str) -> str | None:
    if (file.parent / wanted).is_file():
        return f"a file was given; give its folder, '{file.parent}'"
    return _single_file(file, wanted)


def _single_file(file: Path, wanted: str) -> str:
    if file.suffix == ".gguf":
        return f"{file.name} is a GGUF file, which is not read; give the original checkpoint's folder or hub name"
    if wanted == PIPELINE and file.suffix in _WEIGHTS:
        return (
            f"{file.name} is a single file; make a folder of it once with diffusers' "
            "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)"
        )
    return f"{file.name} is a single file, expected a folder with {wanted} and weights"


def _of_name(error: BaseException, name: str) -> str | None:
    address = _HUB_ADDRESS.match(name)
    if address:
        return f"an address was given; give the hub name alone, {address['name']}"
    if not name.strip():
        return "no name given; give a folder or a hub name"
    if not _HUB_NAME.fullmatch(name) or name.startswith("."):
        return "there is no such folder, and no hub name looks like that"
    kinds = {type(cause).__name__ for cause in _causes(error)}
    if "GatedRepoError" in kinds:
        return "its owner wants to be asked first: accept its terms on the hub and log in with 'hf auth login'"
    if kinds & {"RepositoryNotFoundError", "RevisionNotFoundError"}:
        return "there is no such folder here and no such model on the hub; correct the name, or log in if it is private"
    nowhere = "there is no such folder here, it is not in the hub's cache"
    offline = [f"{key}={os.environ[key]}" for key in _OFFLINE if _is_set(os.environ.get(key))]
    unreachable = {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectTimeout", "ReadTimeout"}
    if offline:
        return f"{nowhere}, and {offline[0]} keeps from fetching it; correct the name, or unset the variable"
    if kinds & unreachable:
        return f"{nowhere}, and the hub cannot be reached; correct the name, or fetch it on a machine that can"
    return None


def _is_set(value: str | None) -> bool:
    return (value or "").strip().lower() in ("1", "on", "yes", "true")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it came from."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        yield current
        current = current.__cause__ or current.__context__


def _object(path: Path) -> dict[str, Any]:
    """A file's JSON object, empty where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
