"""The HTTP service: OpenAI's chat completions and images over the pipeline."""
