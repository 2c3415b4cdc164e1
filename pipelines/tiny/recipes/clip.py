"""Pretrain the tiny CLIP: contrastive, symmetric InfoNCE with a learned temperature (arXiv 2103.00020, section 2.3).

Its vision tower becomes the image encoder and its text tower conditions the tiny Stable Diffusion, as in the originals.
A batch holds distinct scenes only, so that no true pair is ever counted as a negative.

Legend: B batch, C/H/W image.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from pipelines.tiny.recipes.autoencoder import POOL_COPIES, image_pool
from pipelines.tiny.recipes.precision import bf16_products
from pipelines.tiny.recipes.prompting import sayings
from pipelines.tiny.world.images import SIZE_PX
from pipelines.tiny.world.phrases import caption, paraphrase
from pipelines.tiny.world.scenes import ALL_SCENES
from pipelines.training.loop import Loop, LoopOptions, print_log

TEXT_LENGTH = 16
TEXT_WIDTH = 64
VISION_WIDTH = 128
CANONICAL_SHARE = 0.4
IMAGE_MEAN, IMAGE_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def build_tokenizer(seed: int) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges are learned from captions of the world; any other text falls to single bytes."""
    rng = random.Random(seed)
    corpus = [paraphrase(scene, rng) for scene in ALL_SCENES for _ in range(8)] + [caption(s) for s in ALL_SCENES]
    corpus += [f"moving {way}, still" for way in ("left", "right", "up", "down")] * 50
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(False, False)]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=[], initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator(corpus, trainer)
    learned = bpe.get_vocab()
    tokens = sorted(learned, key=lambda token: learned[token])
    tokens += [f"{byte}</w>" for byte in alphabet if f"{byte}</w>" not in learned]
    vocab = {token: index for index, token in enumerate([*tokens, *specials])}
    return CLIPTokenizer(vocab=vocab, merges=learned_merges(bpe), model_max_length=TEXT_LENGTH)


def learned_merges(bpe: Tokenizer) -> list[tuple[str, str]]:
    """The merge list of a trained BPE, in order."""
    import json

    return [tuple(merge) for merge in json.loads(bpe.to_str())["model"]["merges"]]


def build_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained two-tower model: vision 4 × 128 over 8-pixel patches, text 3 × 64."""
    shared = {"hidden_act": "quick_gelu", "num_attention_heads": 4}
    text = {
        **shared,
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "num_hidden_layers": 3,
        "max_position_embeddings": TEXT_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        **shared,
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 3 * VISION_WIDTH,
        "num_hidden_layers": 4,
        "image_size": SIZE_PX,
        "patch_size": 8,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


def image_processor() -> CLIPImageProcessorPil:
    """The preprocessing that belongs to this model."""
    size = {"height": SIZE_PX, "width": SIZE_PX}
    return CLIPImageProcessorPil(
        size=size, crop_size=size, do_center_crop=False, image_mean=list(IMAGE_MEAN), image_std=list(IMAGE_STD)
    )


def augmented(images_BCHW: Tensor) -> Tensor:
    """Small changes of brightness and sharpness and some noise, so that real files are no surprise; [-1, 1]."""
    gain_B111 = 1.0 + 0.06 * torch.randn(len(images_BCHW), 1, 1, 1)
    images_BCHW = ((images_BCHW + 1.0) * gain_B111).clamp(0.0, 2.0) - 1.0
    if torch.rand(()) < 0.3:
        small = torch.nn.functional.interpolate(images_BCHW, scale_factor=0.5, mode="area")
        images_BCHW = torch.nn.functional.interpolate(small, size=images_BCHW.shape[-2:], mode="bilinear")
    return images_BCHW + 0.03 * torch.rand(()) * torch.randn_like(images_BCHW)


def pretrain_clip(out_dir: Path, steps: int, batch_size: int, seed: int) -> CLIPModel:
    """Train and save to `out_dir` (a `save_pretrained` folder with tokenizer and image processor)."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(seed)
    model = build_clip(tokenizer)
    pool = image_pool(seed + 1)

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = random.Random(f"{seed}/{step}")
        picked = rng.sample(range(len(ALL_SCENES)), batch_size)
        copies = [index * POOL_COPIES + rng.randrange(POOL_COPIES) for index in picked]
        texts = sayings([ALL_SCENES[i] for i in picked], rng, CANONICAL_SHARE)
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        images = augmented(pool[copies].float() / 127.5 - 1.0)
        with bf16_products():
            outputs = model(input_ids=tokens.input_ids, pixel_values=images)
        targets = torch.arange(batch_size)
        by_text, by_image = outputs.logits_per_text.float(), outputs.logits_per_image.float()
        cross_entropy = torch.nn.functional.cross_entropy
        return {"infonce": (cross_entropy(by_text, targets) + cross_entropy(by_image, targets)) / 2}

    options = LoopOptions(steps=steps, learning_rate=1e-3, warmup_steps=100, weight_decay=0.05, seed=seed)
    loop = Loop(dict(model.named_parameters()), options, out_dir / "state")
    loop.finish(losses_at, print_log)
    model.save_pretrained(out_dir)
    tokenizer.save_pretrained(out_dir)
    image_processor().save_pretrained(out_dir)
    return model
