"""Stable Diffusion: conditioning → picture."""
