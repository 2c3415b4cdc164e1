"""What commands are given, checked before anything is computed."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from anygpt.errors import RequestError
from pipelines.cli.options import KEY_VARIABLE

OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_0-9]+)*=.*", re.DOTALL)


def split_words(words: list[str] | None) -> tuple[str | None, list[str]]:
    """The prompt, if there is one, and the overrides.

    Raises:
        RequestError: for a file that no option stands before, or words after the prompt.
    """
    given = list(words or [])
    prompt = given.pop(0) if given and not _is_override(given[0]) else None
    for word in (prompt, *given):
        if word is not None and os.path.isfile(word):
            raise RequestError(f"argument: '{word}' is a file; give --image, --audio, --video or --points before each")
    for word in given:
        if not OVERRIDE.fullmatch(word):
            raise RequestError(f"argument: '{word}' given after the prompt, expected key.path=value; quote the prompt")
    return prompt, given


def _is_override(word: str) -> bool:
    """True for key.path=value; words with an "=" among them are an override only if they begin with a config's key."""
    from anygpt.config.schema import StackConfig

    known = {"extends", *(field.name for field in fields(StackConfig))}
    begins_with_key = re.split(r"[.=]", word, maxsplit=1)[0] in known
    return bool(OVERRIDE.fullmatch(word)) and (begins_with_key or " " not in word)


def local_path(option: str, given: str) -> Path:
    """The path of a file as people write it: with ~, or as a file:// address.

    Raises:
        RequestError: if it is an address elsewhere.
    """
    if re.match("(?i)(https?|ftp|s3)://", given):
        raise RequestError(f"{option}: '{given}' given, an address; download the file and give its path")
    if given[:7].lower() == "file://":
        given = url2pathname(urlsplit(given).path)
    return Path(os.path.expanduser(given))


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
