"""Legend: B batch, C channels, F frames, T text tokens, D text width, h/w latent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from anygpt.media.values import Video
from anygpt.options import GenerationOptions
from generators.zeroscope.generator import ZeroscopeGenerator
from pipelines.tiny.recipes.zeroscope import inflated_unet, pretrain_frame_decoder, pretrain_zeroscope

SECOND_LEVEL = ("down_blocks.1.attentions.", "up_blocks.0.attentions.")  # what the inflated UNet leaves out


@pytest.fixture
def picture_unet(random_parts: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(random_parts / "stable_diffusion" / "unet").eval()


def test_inflated_unet_predicts_for_every_frame_what_the_picture_unet_does(picture_unet):
    """But for the second level's attention and the middle's, whose heads are cut anew: here they add nothing."""
    with torch.no_grad():
        for name, weight in picture_unet.named_parameters():
            if name.startswith((*SECOND_LEVEL, "mid_block.attentions.")) and ".proj_out." in name:
                weight.zero_()
    inflated = inflated_unet(picture_unet).eval()
    torch.manual_seed(0)
    noisy_BCFhw, timesteps_B = torch.randn(2, 4, 3, 8, 8), torch.tensor([7, 900])
    text_BTD = torch.randn(2, 16, picture_unet.config.cross_attention_dim)
    with torch.inference_mode():
        predicted_BCFhw = inflated(noisy_BCFhw, timesteps_B, text_BTD).sample
        for frame in range(3):
            expected_BChw = picture_unet(noisy_BCFhw[:, :, frame], timesteps_B, text_BTD).sample
            torch.testing.assert_close(predicted_BCFhw[:, :, frame], expected_BChw, rtol=1e-4, atol=1e-5)


def test_inflated_unet_has_all_weights_of_the_picture_unet_but_the_second_levels_attention(picture_unet):
    inflated = inflated_unet(picture_unet).state_dict()
    for name, value in picture_unet.state_dict().items():
        if name.startswith(SECOND_LEVEL):
            assert name not in inflated
        else:
            assert torch.equal(inflated[name].flatten(), value.flatten()), name


def test_inflated_unets_layers_over_time_do_nothing_yet_but_learn(picture_unet):
    inflated = inflated_unet(picture_unet)
    noisy_BCFhw, text_BTD = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 16, picture_unet.config.cross_attention_dim)
    inflated(noisy_BCFhw, torch.tensor([500]), text_BTD).sample.square().mean().backward()
    ends = ("conv4.3.weight", "temp_attentions.0.proj_out.weight", "transformer_in.proj_out.weight")
    last = {name: weight for name, weight in inflated.named_parameters() if name.endswith(ends)}
    assert len(last) > 10
    for name, weight in last.items():
        assert not weight.any(), name
        assert weight.grad.abs().sum() > 0, name


def test_frame_decoder_learns_while_latents_stay_the_same(tmp_path, autoencoder_dir):
    pretrain_frame_decoder(tmp_path, autoencoder_dir, steps=2, batch_size=4, seed=0)
    before = AutoencoderKL.from_pretrained(autoencoder_dir).state_dict()
    after = AutoencoderKL.from_pretrained(tmp_path).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in changed)
    assert before.keys() == after.keys()


def test_zeroscope_becomes_a_video_generator(tmp_path, random_parts, autoencoder_dir, clip_dir):
    picture_unet_dir = random_parts / "stable_diffusion" / "unet"
    pretrain_zeroscope(tmp_path, picture_unet_dir, autoencoder_dir, clip_dir, steps=2, batch_size=2, seed=0)
    generator = ZeroscopeGenerator.from_config(ZeroscopeGenerator.Config(str(tmp_path), steps=2, frames=8))
    prompt = generator.encode_prompt(["a red star moving up"])
    (video,) = generator.generate(prompt, [GenerationOptions()])
    assert isinstance(video, Video)  # not the error that stands for a video of NaN
    assert video.frames.shape == (8, 64, 64, 3)
    assert generator.denoising_loss(prompt, [video]).isfinite()
