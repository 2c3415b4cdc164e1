from __future__ import annotations

import numpy as np
from PIL import Image

from anygpt.options import GenerationOptions
from generators.stable_diffusion.generator import StableDiffusionGenerator
from pipelines.tiny.recipes.stable_diffusion import pretrain_stable_diffusion


def test_stable_diffusion_becomes_an_image_generator(tmp_path, autoencoder_dir, clip_dir):
    pretrain_stable_diffusion(tmp_path, autoencoder_dir, clip_dir, steps=2, batch_size=4, seed=0)
    generator = StableDiffusionGenerator.from_config(StableDiffusionGenerator.Config(str(tmp_path), steps=2))
    (picture,) = generator.generate(generator.encode_prompt(["a red star"]), [GenerationOptions()])
    assert isinstance(picture, Image.Image)  # not the error that stands for a picture of NaN
    assert picture.size == (64, 64)
    assert generator.denoising_loss(generator.encode_prompt(["a red star"]), [picture]).isfinite()
    assert np.asarray(picture).std() > 0
