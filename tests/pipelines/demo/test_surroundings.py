from __future__ import annotations

import os
from pathlib import Path

from pipelines.demo.surroundings import for_gradio, ignored_variables, without_network

OPENING = {
    "GRADIO_SHARE": "True",
    "GRADIO_ALLOWED_PATHS": "/",
    "GRADIO_ROOT_PATH": "http://evil.example",
    "SPACE_ID": "a/b",
    "SYSTEM": "spaces",
}


def test_the_environment_says_nothing_to_gradio_while_a_page_is_served(monkeypatch, tmp_path: Path):
    for name, value in OPENING.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    assert ignored_variables() == ["GRADIO_ALLOWED_PATHS", "GRADIO_ROOT_PATH", "GRADIO_SHARE"]
    with for_gradio(tmp_path):
        assert not OPENING.keys() & os.environ.keys()
        assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert dict(os.environ) == before


def test_gradio_is_imported_without_proxies_and_certificates(monkeypatch):
    for name in ("HTTP_PROXY", "all_proxy", "No_Proxy", "SSL_CERT_FILE", "SSLKEYLOGFILE"):
        monkeypatch.setenv(name, "wrong")
    before = dict(os.environ)
    with without_network():
        assert "wrong" not in os.environ.values()
    assert dict(os.environ) == before
