from __future__ import annotations

from types import SimpleNamespace

import pytest

from anygpt.errors import RequestError
from generators.limits import check_limits

CONFIG = SimpleNamespace(max_steps=50, max_duration_s=2.5)


def test_what_is_within_the_limits_or_not_limited_is_taken():
    check_limits(CONFIG, "audio", steps=50, duration_s=2.5)
    check_limits(CONFIG, "audio", steps=None, frames=10**9)


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"steps": 51}, "steps: 51 given, expected at most max_steps=50; ask for less, or raise generators.audio.max_"),
        ({"steps": 10**9}, "steps: 1000000000 given, expected at most max_steps=50; "),
        ({"steps": 1, "duration_s": 2.75}, "duration_s: 2.75 given, expected at most max_duration_s=2.5; "),
    ],
)  # fmt: skip
def test_more_than_a_limit_is_refused_with_the_setting_that_raises_it(asked, line):
    with pytest.raises(RequestError) as refused:
        check_limits(CONFIG, "audio", **asked)
    assert str(refused.value).startswith(line)
