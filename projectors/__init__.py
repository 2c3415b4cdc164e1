"""Trained projectors: feature tokens → LLM prompt embeddings, and signal-token states → generator conditioning."""

from anygpt.registry import Registry

INPUT_PROJECTORS = Registry(
    "input projector",
    "anygpt.input_projectors",
    {
        "linear": "projectors.input.linear:LinearInputProjector",
        "mlp": "projectors.input.mlp:MlpInputProjector",
        "perceiver": "projectors.input.perceiver:PerceiverInputProjector",
    },
)
OUTPUT_PROJECTORS = Registry(
    "output projector",
    "anygpt.output_projectors",
    {
        "mlp": "projectors.output.mlp:MlpOutputProjector",
        "transformer": "projectors.output.transformer:TransformerOutputProjector",
    },
)
