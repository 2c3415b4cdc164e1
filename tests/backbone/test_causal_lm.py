from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anygpt.errors import CheckpointError, ConfigError
from anygpt.messages import MediumRef, Message
from backbone.causal_lm import CausalLMBackbone, CausalLMConfig
from backbone.language_model import LoraOptions
from backbone.layout import IGNORED, lay_out

CONVERSATION = [
    Message("user", [MediumRef("image"), "What?"]),
    Message("assistant", ["A circle.", MediumRef("image")]),
]


def hashes(backbone: CausalLMBackbone) -> dict[str, str]:
    return {
        name: hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()
        for name, tensor in backbone.state_dict().items()
    }


def test_only_the_new_rows_and_lora_can_train(backbone):
    before = hashes(backbone)
    chosen = backbone.trainable_parameters(signal_rows=True, lora=True)
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    prompt = backbone.prompts.build(CONVERSATION, learn_replies=True)
    loss, states = backbone.training_states([prompt], [{"image": [torch.randn(3, backbone.hidden_size)]}])
    (loss + states["image"].square().mean()).backward()
    assert {name for name, p in backbone.named_parameters() if p.grad is not None} <= set(chosen)
    with torch.no_grad():
        for parameter in chosen.values():
            parameter.add_(1.0)
    changed = {name for name, value in hashes(backbone).items() if value != before[name]}
    assert changed == set(chosen)


def test_trainable_share_is_small_and_rows_are_counted_exactly(backbone):
    rows = backbone.trainable_parameters(signal_rows=True, lora=False)
    assert {name: tuple(p.shape) for name, p in rows.items()} == {
        "signal_tokens.input_rows": (7, backbone.hidden_size),
        "signal_tokens.output_rows": (2, backbone.hidden_size),
    }
    lora = backbone.trainable_parameters(signal_rows=False, lora=True)
    assert len(lora) == 2 * 4 * backbone._base.config.num_hidden_layers


def test_lora_starts_as_the_base_model(random_parts, backbone):
    config = CausalLMConfig(pretrained=str(random_parts / "language_model"), lora=None)
    plain = CausalLMBackbone.from_config(config)
    ids = torch.arange(12)[None] + 20
    valid, positions = torch.ones_like(ids).bool(), torch.arange(12)[None]
    vocab = plain.base_vocab_size
    one = plain.step(plain.embed(ids), valid, positions, None).logits[..., :vocab]
    other = backbone.step(backbone.embed(ids), valid, positions, None).logits[..., :vocab]
    torch.testing.assert_close(one, other)


def test_training_loss_is_the_mean_cross_entropy_of_the_reply_tokens(backbone):
    """Counted by hand, one token at a time, with a medium of three embeddings before the reply."""
    media = torch.randn(3, backbone.hidden_size)
    prompt = backbone.prompts.build(CONVERSATION, learn_replies=True)
    with torch.no_grad():
        loss, _ = backbone.training_states([prompt], [{"image": [media]}])
        layout = lay_out([prompt], [{"image": [media]}])
        output = backbone.step(backbone.embed(layout.ids_BT, media), layout.valid_BT, layout.positions_BT, None)
    log_probabilities = output.logits.log_softmax(-1)[0]
    terms = []
    for at in range(1, layout.ids_BT.shape[1]):
        label = int(layout.labels_BT[0, at])
        if label != IGNORED:
            column = label if label < backbone.base_vocab_size else backbone.base_vocab_size  # image is the first group
            terms.append(-log_probabilities[at - 1, column])
    reply = backbone.tokenizer("A circle.").input_ids
    assert len(terms) == len(reply) + 2  # the signal group's first token and the end of the turn
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_media_embeddings_reach_the_states_and_get_gradients(backbone):
    media = torch.randn(3, backbone.hidden_size, requires_grad=True)
    prompt = backbone.prompts.build(CONVERSATION, learn_replies=True)
    loss, _ = backbone.training_states([prompt], [{"image": [media]}])
    loss.backward()
    assert media.grad is not None
    assert (media.grad.abs().sum(-1) > 0).all()


def test_adapters_save_and_load(tmp_path, random_parts, backbone):
    with torch.no_grad():
        for parameter in backbone.trainable_parameters(signal_rows=True, lora=True).values():
            parameter.add_(torch.randn_like(parameter))
    backbone.save_adapters(tmp_path)
    assert {p.name for p in tmp_path.rglob("*.safetensors")} == {
        "signal_tokens.safetensors",
        "adapter_model.safetensors",
    }
    other = CausalLMBackbone.from_config(backbone.config)
    assert hashes(other) != hashes(backbone)
    other.load_adapters(tmp_path)
    assert hashes(other) == hashes(backbone)


@pytest.mark.parametrize("file", ["signal_tokens.safetensors", "lora/adapter_model.safetensors"])
def test_adapters_load_strictly(tmp_path, backbone, file):
    backbone.save_adapters(tmp_path)
    tensors = load_file(tmp_path / file)
    name, value = sorted(tensors.items())[0]
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, tmp_path / file)
    with pytest.raises(CheckpointError, match=f"tensor '{name}' is missing"):
        backbone.load_adapters(tmp_path)
    save_file({**tensors, name: value[:1].clone()}, tmp_path / file)
    with pytest.raises(CheckpointError, match=f"tensor '{name}' has shape"):
        backbone.load_adapters(tmp_path)
    save_file({**tensors, "stranger": value.clone()}, tmp_path / file)
    with pytest.raises(CheckpointError, match="tensor 'stranger' is unexpected"):
        backbone.load_adapters(tmp_path)
    (tmp_path / file).write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match="is damaged"):
        backbone.load_adapters(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(CheckpointError, match="is missing, expected a safetensors file"):
        backbone.load_adapters(tmp_path)


def test_base_model_loads_strictly(tmp_path, random_parts):
    folder = tmp_path / "model"
    shutil.copytree(random_parts / "language_model", folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.0.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing keys model\.layers\.0\.mlp\.up_proj\.weight"):
        CausalLMBackbone.from_config(CausalLMConfig(pretrained=str(folder)))


def test_base_model_loads_with_the_constants_that_old_libraries_saved(tmp_path, random_parts):
    folder = tmp_path / "model"
    shutil.copytree(random_parts / "language_model", folder)
    weights = load_file(folder / "model.safetensors")
    constants = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        "transformer.h.0.attn.attention.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool),
    }
    save_file({**weights, **constants}, folder / "model.safetensors", {"format": "pt"})
    CausalLMBackbone.from_config(CausalLMConfig(pretrained=str(folder)))
    save_file({**weights, "model.layers.0.self_attn.q_proj.bias": torch.ones(4)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"unexpected keys model\.layers\.0\.self_attn\.q_proj\.bias"):
        CausalLMBackbone.from_config(CausalLMConfig(pretrained=str(folder)))


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("config.json", "the folder has no config.json; it holds model.safetensors alone"),
        ("tokenizer.json", "the folder has no tokenizer.json; copy it from where the checkpoint is from"),
        ("model.safetensors", "no weights; copy or download the checkpoint again"),
    ],
)
def test_a_base_model_without_a_file_is_told_which(tmp_path, random_parts, missing, told):
    folder = tmp_path / "model"
    shutil.copytree(random_parts / "language_model", folder)
    (folder / missing).unlink()
    with pytest.raises(CheckpointError) as refused:
        CausalLMBackbone.from_config(CausalLMConfig(pretrained=str(folder)))
    assert str(refused.value) == f"backbone.pretrained: '{folder}' cannot be loaded: {told}" + (
        "; copy the other files from where the checkpoint is from" if missing == "config.json" else ""
    )


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("clip", "it is of a type that transformers has no causal language model for; give one that writes text"),
        ("stable_diffusion", "the folder has no config.json; this is a diffusers pipeline (StableDiffusionPipeline)"),
        ("clip/config.json", "a file was given; give its folder, '{folder}/clip'"),
        (".", "the folder has no config.json; its folder 'clip' has one, give that"),
    ],
)
def test_a_checkpoint_of_another_kind_is_told(random_parts, part, told):
    with pytest.raises(CheckpointError) as refused:
        CausalLMBackbone.from_config(CausalLMConfig(pretrained=str(random_parts / part)))
    assert str(refused.value).endswith(f"cannot be loaded: {told.format(folder=random_parts)}")


def test_missing_base_model_is_one_line():
    with pytest.raises(CheckpointError, match="'/no/such/folder' cannot be loaded") as caught:
        CausalLMBackbone.from_config(CausalLMConfig(pretrained="/no/such/folder"))
    assert "\n" not in str(caught.value)


def test_wrong_lora_targets_name_the_key(random_parts):
    config = CausalLMConfig(pretrained=str(random_parts / "language_model"), lora=LoraOptions(target_modules=["nope"]))
    with pytest.raises(ConfigError, match=r"backbone\.lora\.target_modules"):
        CausalLMBackbone.from_config(config)


@pytest.mark.parametrize(("sizes", "message"), [({"smell": 4}, "modality 'smell' given"), ({"image": 0}, "0 given")])
def test_wrong_signal_tokens_are_refused(random_parts, sizes, message):
    config = CausalLMConfig(pretrained=str(random_parts / "language_model"), signal_tokens=sizes)
    with pytest.raises(ConfigError, match=message):
        CausalLMBackbone.from_config(config)


def test_config_defaults_are_checked():
    with pytest.raises(ConfigError, match="rank: 0 given, expected 1 to 65536"):
        LoraOptions(rank=0)


def test_weights_folder_is_not_touched(random_parts: Path, backbone):
    assert not list(random_parts.rglob("*.partial"))


def test_forbidden_signal_tokens_get_no_probability_in_training(backbone):
    """A reply that ends where its picture would stand is the likelier, the fewer groups compete with its end."""
    words = [Message("user", "Draw."), Message("assistant", "A circle.")]
    prompts = [backbone.prompts.build(words, learn_replies=True)] * 2
    free, _ = backbone.training_states(prompts, [{}, {}])
    one, _ = backbone.training_states(prompts, [{}, {}], [{"image"}, ()])
    both, _ = backbone.training_states(prompts, [{}, {}], [{"image"}, {"image"}])
    torch.testing.assert_close(one, (free + both) / 2)
    assert both < free
    whole = backbone.prompts.build(CONVERSATION, learn_replies=True)
    given = [{"image": [torch.randn(3, backbone.hidden_size)]}]
    assert backbone.training_states([whole], given, [{"audio"}])[0].isfinite()
    assert backbone.training_states([whole], given, [{"image"}])[0].isinf()  # such a sample contradicts itself
