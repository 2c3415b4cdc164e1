"""Frozen diffusion generators: conditioning → media values."""

from anygpt.registry import Registry

GENERATORS = Registry(
    "generator",
    "anygpt.generators",
    {
        "stable_diffusion": "generators.stable_diffusion:StableDiffusionGenerator",
        "zeroscope": "generators.zeroscope:ZeroscopeGenerator",
        "audioldm2": "generators.audioldm2:AudioLDM2Generator",
    },
)
