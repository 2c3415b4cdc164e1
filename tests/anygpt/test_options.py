from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
import torch

from anygpt.errors import RequestError
from anygpt.options import (
    GENERATION,
    MAX_SEED,
    MAX_STOP_LENGTH,
    MAX_STOPS,
    OPTIONS,
    SAMPLING,
    GenerationOptions,
    ReplyOptions,
    RequestOptions,
    SamplingOptions,
    request_options,
)

NOT_WHOLE = [1.0, "1", True, [1], math.nan]
NOT_NUMBERS = ["1", None, True, [1.0], math.nan, math.inf, -math.inf]


def refusal(options: type, name: str, value: Any) -> str:
    with pytest.raises(RequestError) as caught:
        options(**{name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("name", ["steps", "width_px", "height_px", "frames"])
@pytest.mark.parametrize("options", [GenerationOptions, RequestOptions])
def test_counts_of_media_are_whole_and_positive(options, name):
    assert refusal(options, name, 0) == f"{name}: 0 given, expected at least 1"
    assert refusal(options, name, -3) == f"{name}: -3 given, expected at least 1"
    for value in NOT_WHOLE:
        assert refusal(options, name, value) == f"{name}: {value!r} given, expected a whole number"
    assert getattr(options(**{name: 1}), name) == 1


@pytest.mark.parametrize("options", [GenerationOptions, RequestOptions])
def test_guidance_is_between_0_and_100(options):
    for value in [-0.1, 100.1, *(value for value in NOT_NUMBERS if value is not None)]:
        assert refusal(options, "guidance", value) == f"guidance: {value!r} given, expected 0 to 100"
    for value in (None, 0, 0.0, 1, 7.5, 100):
        assert options(guidance=value).guidance == value


@pytest.mark.parametrize("options", [GenerationOptions, RequestOptions])
def test_duration_is_above_0(options):
    for value in [0, 0.0, -1, 10**400, *(value for value in NOT_NUMBERS if value is not None)]:
        assert refusal(options, "duration_s", value) == f"duration_s: {value!r} given, expected a number above 0"
    for value in (None, 1, 0.5):
        assert options(duration_s=value).duration_s == value


def test_max_tokens_is_whole_and_positive():
    assert refusal(SamplingOptions, "max_tokens", 0) == "max_tokens: 0 given, expected at least 1"
    for value in NOT_WHOLE:
        refusal(SamplingOptions, "max_tokens", value)
    assert SamplingOptions(max_tokens=None).max_tokens is None


@pytest.mark.parametrize(
    ("name", "bad", "good", "expected"),
    [
        ("temperature", [-0.1, 10.1], [0, 0.0, 1e-30, 10], "0 to 10"),
        ("top_p", [0, 0.0, 1.1, -1], [1e-9, 0.5, 1, 1.0], "more than 0 and at most 1"),
    ],
)
def test_sampling_numbers_are_in_range(name, bad, good, expected):
    for value in [*bad, *NOT_NUMBERS]:
        assert refusal(SamplingOptions, name, value) == f"{name}: {value!r} given, expected {expected}"
    for value in good:
        assert getattr(SamplingOptions(**{name: value}), name) == value


def test_top_k_is_whole_and_not_negative():
    assert refusal(SamplingOptions, "top_k", -1) == "top_k: -1 given, expected 0 (all) or more"
    for value in [None, *NOT_WHOLE]:
        assert refusal(SamplingOptions, "top_k", value) == f"top_k: {value!r} given, expected a whole number"
    assert SamplingOptions(top_k=5).top_k == 5


def test_stop_holds_few_short_strings():
    assert SamplingOptions(stop=("a" * MAX_STOP_LENGTH,) * MAX_STOPS)
    assert refusal(SamplingOptions, "stop", ("a",) * 17).endswith("17 strings given, expected at most 16")
    assert refusal(SamplingOptions, "stop", ("a" * 257,)).endswith("of 257 characters given, expected at most 256")


@pytest.mark.parametrize("stop", [("",), ("a", ""), (5,), (None,), (b"a",)])
def test_stop_holds_strings(stop):
    assert "expected strings of at least one character" in refusal(SamplingOptions, "stop", stop)


@pytest.mark.parametrize(
    ("modalities", "given"),
    [((), "nothing"), (("smell",), "'smell'"), (("text", ""), "'text', ''"), (("points",), "'points'"), ((5,), "5")],
)
def test_modalities_are_those_that_can_be_produced(modalities, given):
    assert refusal(SamplingOptions, "modalities", modalities) == (
        f"modalities: {given} given, expected some of text, image, audio, video"
    )


@pytest.mark.parametrize(
    ("modalities", "forced"),
    [
        (None, None),
        (("text",), None),
        (("image",), "image"),
        (("image", "image"), "image"),
        (("text", "image"), None),
        (("image", "audio"), None),
    ],
)
def test_exactly_one_medium_is_forced(modalities, forced):
    assert SamplingOptions(modalities=modalities).forced_modality == forced


def test_modalities_restrict():
    assert all(SamplingOptions().allows(modality) for modality in ("text", "image", "audio", "video"))
    assert SamplingOptions(modalities=("image",)).allows("image")
    assert not SamplingOptions(modalities=("image",)).allows("text")


def test_seed_is_whole_and_one_that_torch_takes():
    for value in [-1, MAX_SEED + 1, None, *NOT_WHOLE]:
        assert refusal(RequestOptions, "seed", value) == (
            f"seed: {value!r} given, expected a whole number from 0 to {MAX_SEED}"
        )
    for seed in (0, MAX_SEED):
        for index in (0, 100):
            torch.Generator().manual_seed(RequestOptions(seed=seed).generation(index).seed)


def test_generation_options_follow_the_request_and_have_a_seed_for_each_medium():
    asked = {"steps": 3, "guidance": 2.0, "width_px": 64, "height_px": 32, "frames": 4, "duration_s": 1.5}
    assert RequestOptions(seed=7, **asked).generation(2) == GenerationOptions(seed=9, **asked)


def test_the_table_holds_every_option():
    numbers = [field.name for field in fields(GenerationOptions)[1:]]
    assert [option.name for option in GENERATION] == numbers
    sampling = [field.name for field in fields(SamplingOptions) if field.name not in ("stop", "modalities")]
    assert [option.name for option in SAMPLING] == sampling
    assert ReplyOptions.__annotations__.keys() == {"seed", "modalities", "stop", *OPTIONS}


def test_options_by_name_leave_out_what_is_none():
    options = request_options(seed=3, modalities="image", stop=None, temperature=None, steps=2, top_p=0.5)
    assert options == RequestOptions(seed=3, sampling=SamplingOptions(top_p=0.5, modalities=("image",)), steps=2)
    assert options.asked == {"steps": 2}
