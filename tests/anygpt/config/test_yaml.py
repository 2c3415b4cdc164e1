from __future__ import annotations

import math

import pytest

from anygpt.config.yaml import MAX_DEPTH, load_yaml


def test_plain_values_of_every_kind():
    text = "a: 1e-3\nb: 2024-01-01\nc: yes\nd: ~\ne: '5'\nf: [1, 2.5, .5, 1., -.inf, 1_000, 0x1f, -7]\n"
    text += "g: {h: [null, off]}\n"
    assert load_yaml(text) == {
        "a": 0.001,
        "b": "2024-01-01",
        "c": True,
        "d": None,
        "e": "5",
        "f": [1, 2.5, 0.5, 1.0, -math.inf, 1000, 31, -7],
        "g": {"h": [None, False]},
    }
    assert math.isnan(load_yaml(".nan"))
    assert load_yaml("") is None
    assert load_yaml("1.2.3") == "1.2.3"


@pytest.mark.parametrize(
    "text", ["${oc.env:HOME}", "${{ x }}", "${", "price: ${{ x }}", "\\${a}", "{{ bos_token }} ${x}"]
)
def test_text_with_dollars_and_braces_is_text(text):
    quoted = "'" + text + "'"
    assert load_yaml(f"a: {quoted}\nb: [{quoted}]\n{quoted}: 1\n") == {"a": text, "b": [text], text: 1}
    assert load_yaml(f"a: |-\n  {text}\n") == {"a": text}


def test_anchors_aliases_and_merge_keys():
    text = "x: &a {k: 1, j: 2}\ny: {<<: *a, k: 3}\nz: *a\nw: {<<: [{k: 8}, *a], i: 4}\n"
    assert load_yaml(text) == {
        "x": {"k": 1, "j": 2},
        "y": {"k": 3, "j": 2},
        "z": {"k": 1, "j": 2},
        "w": {"k": 8, "j": 2, "i": 4},
    }


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "line 2: the key 'a' is given twice"),
        ("x:\n  !!python/object/apply:os.system [ls]", "line 2: the tag 'python/object/apply:os.system' is not taken"),
        ("!!python/name:os.system x", "the tag 'python/name:os.system' is not taken; write plain values"),
        ("!!set {a}", "the tag 'set' is not taken"),
        ("!!binary aGk=", "the tag 'binary' is not taken"),
        ("!env HOME", "the tag '!env' is not taken"),
        ("!!int x", "'x' cannot be read as int"),
        ("? [1]\n: 2", "the tag 'seq' is not taken"),
        ("a: &a [*a]", f"it is nested deeper than {MAX_DEPTH} levels"),
        ("a: &a {b: *a}", f"it is nested deeper than {MAX_DEPTH} levels"),
        ("[" * 5000, f"it is nested deeper than {MAX_DEPTH} levels"),
        (BOMB, "more than 20000 values, with every alias counted"),
        ("x: {<<: 5}", "'<<' merges mappings alone"),
        ("a: [", "line 1: expected the node content"),
        ("a: b: c", "line 1: mapping values are not allowed here"),
        ("a: 1\n\tb: 1", "line 2: found character"),
        ("- 1\n---\n- 2", "but found another document"),
        ("\x00", "unacceptable character"),
        ("a: *nothing", "found undefined alias"),
    ],
    ids=lambda text: text[:30],
)
def test_refusals_are_one_line_that_says_where(text, message):
    with pytest.raises(ValueError, match=r"\w") as caught:
        load_yaml(text)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_numbers_that_no_config_needs_are_text():
    """Endless digits and base 60 took Python minutes, or broke it."""
    endless = "9" * 5_000
    texts = ["1:30", ":".join(["59"] * 1_000), endless, f"0x{'f' * 5_000}", "08"]
    for text in texts:
        assert load_yaml(f"a: {text}") == {"a": text}
    assert load_yaml(f"? {endless}\n: 1") == {endless: 1}
    assert load_yaml("[0, -7, 1_000, 0x1F, 0b11, 010]") == [0, -7, 1000, 31, 3, 8]
