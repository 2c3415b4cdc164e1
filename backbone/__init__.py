"""The language model: prompt assembly, signal tokens, LoRA, decoding."""

from anygpt.registry import Registry

BACKBONES = Registry("backbone", "anygpt.backbones", {"causal_lm": "backbone.causal_lm:CausalLMBackbone"})
