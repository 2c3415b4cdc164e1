"""Frozen diffusion generators: conditioning → media values."""

from anygpt.registry import Registry

GENERATORS = Registry(
    "generator",
    "anygpt.generators",
    {
        "stable_diffusion": "generators.stable_diffusion.generator:StableDiffusionGenerator",
        "zeroscope": "generators.zeroscope.generator:ZeroscopeGenerator",
        "audioldm2": "generators.audioldm2.generator:AudioLDM2Generator",
    },
)
