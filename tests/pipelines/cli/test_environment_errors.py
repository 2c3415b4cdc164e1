from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

from pipelines.cli.environment_errors import environment_line

LIBRARY = """
import os
RANK = "SOME_RANK"
def number(text):
    return int(text)
try:
    value = number(os.environ.get(RANK))
except ValueError as error:
    raise RuntimeError("the library cannot be imported") from error
"""


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Import a library that reads a variable; gives the error that it ends in."""
    (tmp_path / "some_library.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(tmp_path))

    def failed() -> BaseException:
        sys.modules.pop("some_library", None)
        with pytest.raises(RuntimeError) as caught:
            importlib.import_module("some_library")
        return caught.value

    return failed


def test_the_variable_that_a_library_fails_at_is_named(imported, monkeypatch):
    monkeypatch.setenv("SOME_RANK", "first")
    monkeypatch.setenv("OTHER", "first")
    assert environment_line(imported()) == (
        "SOME_RANK: a library cannot use the value (invalid literal for int() with base 10: 'first'); "
        "correct or unset it"
    )


def test_an_error_of_our_own_is_laid_on_no_variable(imported, monkeypatch):
    monkeypatch.setenv("SOME_RANK", "first")
    error = imported()
    monkeypatch.setenv("SOME_RANK", "fir")
    assert environment_line(error) is None
    assert environment_line(KeyError("first")) is None


def test_warnings_that_were_made_errors_are_laid_on_the_variable_that_did_it(monkeypatch):
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    assert environment_line(DeprecationWarning("old")) is None
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert environment_line(DeprecationWarning("old")) == (
        "PYTHONWARNINGS: a library's warning ends the program (DeprecationWarning: old); unset it"
    )


def test_the_command_tells_it_in_one_line():
    command = [sys.executable, "-m", "pipelines", "generate", "Hello"]
    environment = {**os.environ, "HF_HUB_DOWNLOAD_TIMEOUT": "soon"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("anygpt: error: HF_HUB_DOWNLOAD_TIMEOUT: a library cannot use the value (")
    assert ended.stderr.count("\n") == 1
