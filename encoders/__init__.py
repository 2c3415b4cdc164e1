"""Frozen modality encoders: media values → feature tokens."""

from anygpt.registry import Registry

ENCODERS = Registry(
    "encoder",
    "anygpt.encoders",
    {
        "beats": "encoders.beats:BeatsEncoder",
        "clap": "encoders.clap:ClapEncoder",
        "clip": "encoders.clip:ClipEncoder",
        "concat": "encoders.concat:ConcatEncoder",
        "hubert": "encoders.hubert:HubertEncoder",
        "sampled_frames": "encoders.sampled_frames:SampledFramesEncoder",
        "ulip2": "encoders.ulip2:Ulip2Encoder",
        "whisper": "encoders.whisper:WhisperEncoder",
    },
)
