from __future__ import annotations

import math

import pytest

from pipelines.demo.inputs import Input, functions_of

ODD = [True, "1", [], {}, [1], math.nan, math.inf, -math.inf, 10**400, {"path": "/etc/passwd"}]


@pytest.mark.parametrize("value", [0, -3, 1.5, None])
def test_a_number_is_finite_or_empty(value):
    assert Input("number").fits(value)


@pytest.mark.parametrize("value", ODD)
def test_a_number_is_nothing_else(value):
    assert not Input("number").fits(value)
    assert not Input("slider", least=0, most=2).fits(value)
    assert not Input("dataset", least=0, most=2).fits(value)


def test_a_slider_keeps_to_its_range():
    slider = Input("slider", least=0, most=2)
    assert [value for value in (0, 2, 0.5, -0.1, 2.1, None) if slider.fits(value)] == [0, 2, 0.5]


def test_choices_are_those_that_there_are():
    group = Input("checkboxgroup", choices=("text", "image"))
    assert all(group.fits(value) for value in ([], ["text"], ["image", "text"]))
    assert not any(group.fits(value) for value in (["smell"], "text", None, [1], [["text"]]))


def test_a_text_is_a_text():
    assert Input("textbox").fits("7")
    assert not any(Input("textbox").fits(value) for value in (7, ["7"], {"text": "7"}))


def test_a_kind_that_is_not_known_takes_nothing():
    assert not Input("file").fits({"path": "a"})


def test_functions_are_read_from_the_pages_description():
    parts = [
        (1, "multimodaltextbox", {}),
        (2, "checkboxgroup", {"choices": [["Text", "text"]]}),
        (3, "slider", {"minimum": 0, "maximum": 2}),
        (4, "dataset", {"samples": [["a"], ["b"]]}),
        (5, "button", {}),
    ]
    config = {
        "components": [{"id": number, "type": kind, "props": props} for number, kind, props in parts],
        "dependencies": [
            {"id": 0, "inputs": [1, 2, 3], "backend_fn": True},
            {"id": 1, "inputs": [4], "backend_fn": True},
            {"id": 2, "inputs": [5], "backend_fn": False},
        ],
    }
    assert functions_of(config) == {
        0: (Input("multimodaltextbox"), Input("checkboxgroup", ("text",)), Input("slider", least=0, most=2)),
        1: (Input("dataset", least=0, most=1),),
    }
