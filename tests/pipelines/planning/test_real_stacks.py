"""The shipped real stacks at their real sizes, on the meta device: what is published about them must come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from anygpt.messages import Message
from pipelines.planning.architectures import ARCHITECTURES_DIR
from pipelines.planning.meta_device import META, meta_passes
from pipelines.planning.passes import _LARGE_MEDIA
from tests.pipelines.planning.real_stacks import REAL_STACKS

MANIFESTS = Path(__file__).parents[2] / "fixtures" / "manifests"
NEXTGPT_SIGNALS = {"image": 4, "audio": 8, "video": 24}
CONDITIONING = {
    "image": {"prompt_embeds": (77, 768)},
    "video": {"prompt_embeds": (77, 1024)},
    "audio": {"prompt_embeds": (64, 1024), "generated_prompt_embeds": (8, 768), "attention_mask": (64,)},
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def shapes(module: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in module.state_dict().items()}


def base_count(stack: Any) -> int:
    """The language model without LoRA."""
    named = stack.backbone.backbone.language_model.named_parameters()
    return sum(parameter.numel() for name, parameter in named if "lora_" not in name)


@pytest.mark.parametrize(
    ("config", "kind", "modality", "part", "published"),
    [
        ("nextgpt-7b", "encoders", "image", None, 303_179_776),  # CLIP ViT-L/14, vision
        ("nextgpt-7b", "encoders", "audio", None, 636_968_960),  # Whisper large-v3, encoder
        ("nextgpt-7b", "encoders", "video", None, 303_179_776),
        ("small-gpu", "encoders", "audio", None, 90_311_792),  # BEATs iter3+
        ("nextgpt-7b", "generators", "image", "unet", 859_520_964),  # Stable Diffusion 1.5
        ("nextgpt-7b", "generators", "image", "vae", 83_653_863),
        ("nextgpt-7b", "generators", "image", "text_encoder", 123_060_480),
        ("nextgpt-7b", "generators", "video", "unet", 1_411_233_860),  # Zeroscope v2
        ("nextgpt-7b", "generators", "video", "text_encoder", 340_387_840),
    ],
)
def test_a_part_has_as_many_parameters_as_the_released_one(real_stacks, config, kind, modality, part, published):
    owner = getattr(real_stacks[config], kind)[modality]
    assert count(owner if part is None else owner.modules[part]) == published


@pytest.mark.parametrize(("config", "published"), [("nextgpt-7b", 6_738_415_616), ("small-gpu", 1_543_714_304)])
def test_the_language_model_has_as_many_parameters_as_the_released_one(real_stacks, config, published):
    assert base_count(real_stacks[config]) == published


def test_audioldm2_is_of_the_published_size(real_stacks):
    networks = real_stacks["nextgpt-7b"].generators["audio"].modules
    assert count(networks["unet"]) == pytest.approx(350e6, rel=0.02)  # diffusers' page: "350M"
    assert sum(map(count, networks.values())) == pytest.approx(1.1e9, rel=0.03)  # "1.1B"
    assert count(networks["text_encoder_2"]) == 341_231_104  # the encoder of Flan-T5 large
    assert count(networks["language_model"]) == 124_439_808  # GPT-2


@pytest.mark.parametrize(
    ("config", "modality", "manifest", "part"),
    [
        ("small-gpu", "audio", "beats_iter3plus_base", None),
        ("nextgpt-7b", "points", "ulip2_pointbert_xyzrgb_10k_point_encoder", "point_encoder"),
    ],
)
def test_an_encoder_has_the_official_keys_and_shapes(real_stacks, config, modality, manifest, part):
    official = json.loads((MANIFESTS / f"{manifest}.json").read_text(encoding="utf-8"))
    model = real_stacks[config].encoders[modality].model
    own = getattr(model, part) if part else model
    assert shapes(own) == official["keys"]
    assert count(own) == official["params"]


@pytest.mark.parametrize("config", REAL_STACKS)
def test_every_medium_reaches_the_language_model(real_stacks, config):
    stack = real_stacks[config]
    assert set(stack.encoders) == set(_LARGE_MEDIA)
    for modality, encoder in stack.encoders.items():
        with meta_passes():
            features = encoder.encode(encoder.preprocess([_LARGE_MEDIA[modality]()]))
            (projected,) = stack.backbone.project([{modality: features}])
        assert features.tokens.shape == (1, encoder.num_tokens, encoder.feature_dim)
        (medium_MH,) = projected[modality]
        queries = 64 if modality == "video" else 32
        assert medium_MH.shape == (queries, stack.backbone.backbone.hidden_size)


@pytest.mark.parametrize("config", REAL_STACKS)
def test_every_signal_block_reaches_its_denoiser(real_stacks, config):
    stack = real_stacks[config]
    backbone = stack.backbone.backbone
    assert {group.modality: group.size for group in backbone.signal_tokens.groups} == NEXTGPT_SIGNALS
    for modality, generator in stack.generators.items():
        states = torch.empty(1, NEXTGPT_SIGNALS[modality], backbone.hidden_size, device=META)
        with meta_passes():
            conditioning = stack.backbone.output_projectors[modality](states)
            generator.check_conditioning(conditioning, 1)  # what the generator's pass gives its denoiser, too
        assert {name: tuple(tensor.shape[1:]) for name, tensor in conditioning.items()} == CONDITIONING[modality]


def test_output_projectors_are_of_nextgpts_size(real_stacks):
    for projector in real_stacks["nextgpt-7b"].backbone.output_projectors.values():
        assert count(projector) == pytest.approx(32e6, rel=0.05)


@pytest.mark.parametrize("config", REAL_STACKS)
def test_nothing_is_allocated(real_stacks, config):
    stack = real_stacks[config]
    modules = [*stack.encoders.values(), stack.backbone]
    modules += [network for generator in stack.generators.values() for network in generator.modules.values()]
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    assert len(tensors) > 1000
    assert {tensor.device.type for tensor in tensors} == {META}


@pytest.mark.parametrize("config", REAL_STACKS)
def test_dtypes_are_the_placed_ones(real_stacks, real_configs, config):
    stack = real_stacks[config]
    assert stack.encoders["image"].dtype == stack.backbone.backbone.dtype == torch.bfloat16
    assert stack.encoders["points"].dtype == torch.float32
    assert stack.generators["video"].modules["unet"].dtype == torch.float16
    assert next(stack.backbone.input_projectors["image"].parameters()).dtype == torch.float32
    kept = [p for name, p in stack.generators["audio"].modules["text_encoder_2"].named_parameters() if ".wo." in name]
    assert {parameter.dtype for parameter in kept} == {torch.float32}  # as transformers loads a T5 in float16


def test_vicuna_is_prompted_as_it_was_trained(real_stacks):
    prompts = real_stacks["nextgpt-7b"].backbone.backbone.prompts
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye"},
    ]
    text = prompts.tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert text == "<s>Be brief. USER: Hi ASSISTANT: Hello.</s>USER: Bye ASSISTANT:"  # FastChat's "vicuna_v1.1"
    text = prompts.tokenizer.apply_chat_template(talk[1:2], tokenize=False)
    assert text.startswith("<s>A chat between a curious user")
    assert text.endswith("polite answers to the user's questions. USER: Hi ")


@pytest.mark.parametrize("config", REAL_STACKS)
def test_replies_can_be_learned(real_stacks, config):
    prompts = real_stacks[config].backbone.backbone.prompts
    prompt = prompts.build([Message("user", "Hi"), Message("assistant", "Hello.")], learn_replies=True)
    assert [segment.is_reply for segment in prompt.segments].count(True) == 1


def test_known_architectures_hold_no_weights_and_each_is_used(real_configs):
    files = [path for path in ARCHITECTURES_DIR.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".txt"}
    assert sum(path.stat().st_size for path in files) < 40_000
    tops = {path.parent for path in files if path.name in ("config.json", "model_index.json")}
    tops = {folder for folder in tops if not any(other in folder.parents for other in tops)}
    used = {Path(name).name for config in real_configs.values() for name in pretrained_values(vars(config))}
    assert {folder.name for folder in tops} == used
    assert len(used) == 9


def pretrained_values(values: Any) -> list[str]:
    if not isinstance(values, dict):
        return []
    own = [values["pretrained"]] if "pretrained" in values else []
    return own + [name for value in values.values() for name in pretrained_values(value)]
