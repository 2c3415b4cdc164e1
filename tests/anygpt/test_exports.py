from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import anygpt
from anygpt import errors, events


@pytest.mark.parametrize("name", anygpt.__all__)
def test_every_public_name_resolves_to_what_is_called_so(name):
    value = getattr(anygpt, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__name__ == name
    assert name in dir(anygpt)


def test_public_names_are_listed_once():
    assert len(set(anygpt.__all__)) == len(anygpt.__all__)


def test_all_errors_and_events_are_public():
    for module in (errors, events):
        classes = {
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__
        }
        assert classes <= set(anygpt.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'anygpt' has no attribute 'nonsense'"):
        anygpt.nonsense  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nonsense' from 'anygpt'"):
        from anygpt import nonsense  # noqa: F401


def test_a_module_that_is_imported_stays_reachable():
    import pipelines.tiny.world.scenes

    assert pipelines.tiny.world.scenes.Scene


def test_resolved_names_are_kept():
    assert anygpt.Message is anygpt.Message
    assert "Message" in vars(anygpt)


def test_errors_form_one_tree():
    classes = [
        value for value in vars(errors).values() if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    assert all(issubclass(value, errors.AnyGPTError) for value in classes)
    builtin = {
        errors.ConfigError: ValueError, errors.RegistryError: LookupError, errors.MediaError: ValueError,
        errors.RequestError: ValueError, errors.CheckpointError: ValueError, errors.MissingExtraError: ImportError,
        errors.StageError: RuntimeError, errors.OverloadedError: errors.StageError,
        errors.TimedOutError: errors.StageError, errors.CancelledError: RuntimeError,
        errors.TrainingError: RuntimeError,
    }  # fmt: skip
    assert set(builtin) == set(classes) - {errors.AnyGPTError, errors.UserError}
    assert all(issubclass(error, base) for error, base in builtin.items())
    mendable = {error for error in builtin if issubclass(error, errors.UserError)}
    failures = (errors.StageError, errors.CancelledError, errors.TrainingError)
    assert mendable == {error for error in builtin if not issubclass(error, failures)}


def test_stage_errors_name_their_stage():
    error = errors.StageError("backbone", "broke")
    assert (error.stage, str(error)) == ("backbone", "stage 'backbone': broke")


def test_python_m_anygpt_is_the_command_line():
    ended = subprocess.run(
        [sys.executable, "-m", "anygpt", "--help"], capture_output=True, text=True, check=False, timeout=300
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "generate" in ended.stdout


def test_names_that_programs_import_from_the_rooms_are_there():
    from anygpt.config import ServiceLimits, StackConfig, load_stack_config
    from anygpt.requests import SamplingOptions

    assert isinstance(load_stack_config("tiny"), StackConfig)
    assert ServiceLimits().max_images == 8
    assert SamplingOptions is anygpt.SamplingOptions
