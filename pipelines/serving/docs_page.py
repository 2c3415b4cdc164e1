"""The page at `/docs`: what may be asked, without anything that is fetched from elsewhere."""

from __future__ import annotations

from html import escape

from anygpt.config.schema import StackConfig

ROUTES = (
    ("POST /v1/chat/completions", "Chat, as OpenAI has it, streaming or not; media as data URLs."),
    ("POST /v1/images/generations", "Pictures of a prompt, as base64 PNG."),
    ("GET /v1/models", "The model, with what it takes in and makes."),
    ("GET /ready, /health", "200 if every stage can take work, 503 with the state of each if not."),
    ("GET /live", "200 if the process answers."),
    ("GET /metrics", "Counters and times for Prometheus."),
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>anygpt: {model}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}}
pre{{background:#f4f4f4;padding:1rem;overflow:auto}}td{{padding:.2rem 1rem .2rem 0;vertical-align:top}}</style></head>
<body><h1>anygpt: {model}</h1>
<p>Takes in text, {inputs}. Makes text, {outputs}. OpenAI's clients work with <code>base_url=http://HOST:PORT/v1</code>.</p>
<table>{routes}</table>
<p>In a chat, <code>modalities</code> says what may be made, <code>seed</code> gives the same reply again.
Pictures come in <code>message.images</code>, sounds in <code>audios</code>, videos in <code>videos</code>.</p>
<pre>curl http://HOST:PORT/v1/chat/completions -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'</pre>
<p>With an API key add <code>-H "Authorization: Bearer KEY"</code>.
Every field and error is in docs/serving.md of anygpt.</p>
</body></html>
"""


def docs_page(config: StackConfig) -> str:
    """The page as HTML."""
    rows = "".join(f"<tr><td><code>{escape(route)}</code></td><td>{escape(does)}</td></tr>" for route, does in ROUTES)
    inputs, outputs = ", ".join(config.encoders) or "nothing else", ", ".join(config.generators) or "nothing else"
    return _PAGE.format(model=escape(config.name), inputs=escape(inputs), outputs=escape(outputs), routes=rows)
