from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from pipelines.tiny.recipes.autoencoder import detail_places, image_pool, pretrain_autoencoder, to_model_range
from pipelines.tiny.world.oracle import read_image


def test_autoencoder_is_saved_with_the_scale_of_its_latents(tmp_path):
    trained = pretrain_autoencoder(tmp_path, steps=2, detail_steps=2, batch_size=4, seed=0)
    saved = AutoencoderKL.from_pretrained(tmp_path)
    for name, value in trained.state_dict().items():
        assert torch.equal(saved.state_dict()[name], value)
    pictures_BCHW = to_model_range(image_pool(0))
    with torch.inference_mode():
        latents = saved.encode(pictures_BCHW).latent_dist.mean * saved.config.scaling_factor
        assert saved.decode(latents[:2]).sample.isfinite().all()
    assert latents.shape[1:] == (4, 8, 8)
    assert latents.std().item() == pytest.approx(1.0, rel=1e-3)


def test_details_are_the_small_yellow_things():
    pool, places = image_pool(0), detail_places()
    readings = [read_image(Image.fromarray(pictures_CHW.permute(1, 2, 0).numpy())) for pictures_CHW in pool]
    found = [at for at, reading in enumerate(readings) if (reading.size, reading.colour) == ("small", "yellow")]
    assert places.tolist() == found != []
