"""The old name of `anygpt.options`, kept for programs that import it."""

from anygpt.options import GenerationOptions as GenerationOptions
from anygpt.options import RequestOptions as RequestOptions
from anygpt.options import SamplingOptions as SamplingOptions
