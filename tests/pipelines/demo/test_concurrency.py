from __future__ import annotations

from contextlib import ExitStack

import pytest

from pipelines.demo.concurrency import ConcurrencyLimit
from pipelines.demo.refusals import RefusedError


def test_one_person_cannot_take_all_places():
    places = ConcurrencyLimit("uploads", per_person=2, in_all=3)
    with ExitStack() as taken:
        for _ in range(2):
            taken.enter_context(places.one_for("one"))
        with pytest.raises(RefusedError, match="too many uploads at a time; try again later") as caught:
            taken.enter_context(places.one_for("one"))
        assert caught.value.status == 503
        taken.enter_context(places.one_for("other"))
        with pytest.raises(RefusedError, match="too many uploads"):
            taken.enter_context(places.one_for("third"))
    with places.one_for("third"):
        pass
