import pytest

pytest.register_assert_rewrite("tests.encoders.encoder_contract")
