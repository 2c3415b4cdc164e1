from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from pipelines.pretraining.autoencoder import image_pool, pretrain_autoencoder, to_model_range


def test_autoencoder_is_saved_with_the_scale_of_its_latents(tmp_path):
    trained = pretrain_autoencoder(tmp_path, steps=2, batch_size=4, seed=0)
    saved = AutoencoderKL.from_pretrained(tmp_path)
    for name, value in trained.state_dict().items():
        assert torch.equal(saved.state_dict()[name], value)
    pictures_BCHW = to_model_range(image_pool(0))
    with torch.inference_mode():
        latents = saved.encode(pictures_BCHW).latent_dist.mean * saved.config.scaling_factor
        assert saved.decode(latents[:2]).sample.isfinite().all()
    assert latents.shape[1:] == (4, 8, 8)
    assert latents.std().item() == pytest.approx(1.0, rel=1e-3)
