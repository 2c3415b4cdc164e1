"""Frozen modality encoders: media values → feature tokens."""

from anygpt.registry import Registry

ENCODERS = Registry("encoder", "anygpt.encoders", {"clip": "encoders.clip:ClipEncoder"})
