"""Frozen modality encoders: media values → feature tokens."""

from anygpt.registry import Registry

ENCODERS = Registry(
    "encoder",
    "anygpt.encoders",
    {
        "beats": "encoders.beats.encoder:BeatsEncoder",
        "clap": "encoders.clap:ClapEncoder",
        "clip": "encoders.vision_tower.encoder:ClipEncoder",
        "concat": "encoders.concat:ConcatEncoder",
        "hubert": "encoders.hubert:HubertEncoder",
        "sampled_frames": "encoders.sampled_frames:SampledFramesEncoder",
        "ulip2": "encoders.ulip2.encoder:Ulip2Encoder",
        "whisper": "encoders.whisper.encoder:WhisperEncoder",
    },
)
