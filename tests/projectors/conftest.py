import pytest

pytest.register_assert_rewrite("tests.projectors.projector_contract")
