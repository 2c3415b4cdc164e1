"""What every generator must do: its own tests subclass `GeneratorContract` and build a tiny one."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from anygpt.errors import CancelledError, CheckpointError, RequestError
from anygpt.options import GenerationOptions
from anygpt.tensors import Conditioning
from generators.contract import Generator

PROMPTS = ["a red dog", "a cat", "two dogs and a cat", ""]


def weights_hash(generator: Generator) -> str:
    """SHA-256 over the names and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for module_name, module in sorted(generator.modules.items()):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{module_name}.{name}".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def pick(conditioning: Conditioning, items: Sequence[int]) -> Conditioning:
    """Some items of a batch, in the given order."""
    return {name: tensor[list(items)] for name, tensor in conditioning.items()}


class GeneratorContract(ABC):
    """Subclasses provide a fixture `generator` (tiny, random, 3 or fewer steps by default) and the methods below."""

    @abstractmethod
    def as_tensor(self, medium: Any) -> Tensor:
        """Everything that one medium holds, exactly."""

    @abstractmethod
    def example_media(self, count: int) -> list[Any]:
        """True media to compute a denoising loss on."""

    @pytest.fixture
    def conditioning(self, generator: Generator) -> Conditioning:
        return generator.encode_prompt(PROMPTS)

    def same(self, first: Any, second: Any) -> bool:
        return torch.equal(self.as_tensor(first), self.as_tensor(second))

    def test_encode_prompt_matches_the_spec(self, generator: Generator) -> None:
        conditioning = generator.encode_prompt(PROMPTS)
        assert {name: tuple(tensor.shape) for name, tensor in conditioning.items()} == {
            name: (len(PROMPTS), *spec.shape) for name, spec in generator.conditioning_spec.items()
        }
        for name, spec in generator.conditioning_spec.items():
            assert conditioning[name].dtype == (torch.int64 if spec.is_mask else torch.float32)
            assert not conditioning[name].requires_grad
            assert not conditioning[name].is_inference()  # training saves it for the backward pass

    def test_encode_prompt_tells_prompts_apart_and_cuts_long_ones(self, generator: Generator) -> None:
        conditioning = generator.encode_prompt(["a red dog", "a cat", "a cat " * 200])
        for name, spec in generator.conditioning_spec.items():
            assert spec.is_mask or not torch.equal(conditioning[name][0], conditioning[name][1])

    def test_encode_prompt_refuses_an_empty_list(self, generator: Generator) -> None:
        with pytest.raises(RequestError, match="prompts: none given, expected at least one"):
            generator.encode_prompt([])

    def test_same_seed_gives_the_same_medium(self, generator: Generator, conditioning: Conditioning) -> None:
        first, second, other = (
            generator.generate(pick(conditioning, [0]), [GenerationOptions(seed=seed)])[0] for seed in (3, 3, 4)
        )
        assert self.same(first, second)
        assert not self.same(first, other)

    def test_conditioning_changes_the_medium(self, generator: Generator, conditioning: Conditioning) -> None:
        first, second = generator.generate(pick(conditioning, [0, 1]), [GenerationOptions(seed=3)] * 2)
        assert not self.same(first, second)

    def test_global_randomness_is_neither_used_nor_moved(
        self, generator: Generator, conditioning: Conditioning
    ) -> None:
        torch.manual_seed(1)
        first = generator.generate(pick(conditioning, [0]), [GenerationOptions(seed=3)])[0]
        after = torch.rand(1)
        torch.manual_seed(1)
        assert torch.equal(after, torch.rand(1))
        assert self.same(first, generator.generate(pick(conditioning, [0]), [GenerationOptions(seed=3)])[0])

    def test_batch_equals_single_with_mixed_options(self, generator: Generator, conditioning: Conditioning) -> None:
        items = [0, 1, 2, 0, 3, 1, 2, 0]
        options = [GenerationOptions(seed=index, steps=2 if index % 3 else 1) for index in range(len(items))]
        together = generator.generate(pick(conditioning, items), options)
        alone = [
            generator.generate(pick(conditioning, [item]), [option])[0]
            for item, option in zip(items, options, strict=True)
        ]
        assert [self.same(*pair) for pair in zip(together, alone, strict=True)] == [True] * len(items)

    def test_steps_are_counted_over_the_whole_call(self, generator: Generator, conditioning: Conditioning) -> None:
        seen: list[tuple[int, int]] = []
        options = [GenerationOptions(steps=1), GenerationOptions(steps=2)]
        generator.generate(pick(conditioning, [0, 1]), options, on_step=lambda step, steps: seen.append((step, steps)))
        assert seen == [(1, 3), (2, 3), (3, 3)]

    @pytest.mark.parametrize("stop_after", [0, 1, 2])
    def test_cancelling_stops_within_one_step(
        self, generator: Generator, conditioning: Conditioning, stop_after: int
    ) -> None:
        seen: list[int] = []
        with pytest.raises(CancelledError, match=f"after denoising step {stop_after} of 5"):
            generator.generate(
                pick(conditioning, [0]),
                [GenerationOptions(steps=5)],
                on_step=lambda step, steps: seen.append(step),
                should_stop=lambda: len(seen) >= stop_after,
            )
        assert len(seen) == stop_after
        assert generator.generate(pick(conditioning, [0]), [GenerationOptions()])

    def test_two_threads_do_not_disturb_each_other(self, generator: Generator, conditioning: Conditioning) -> None:
        jobs = [(pick(conditioning, [item]), [GenerationOptions(seed=item, steps=2 + item)]) for item in range(4)]
        one_by_one = [generator.generate(*job)[0] for job in jobs]
        with ThreadPoolExecutor(len(jobs)) as pool:
            at_once = [media[0] for media in pool.map(lambda job: generator.generate(*job), jobs)]
        assert all(self.same(*pair) for pair in zip(one_by_one, at_once, strict=True))

    def test_loss_reaches_the_conditioning_and_no_weight(
        self, generator: Generator, conditioning: Conditioning
    ) -> None:
        for name, spec in generator.conditioning_spec.items():
            conditioning[name].requires_grad_(not spec.is_mask)
        torch.manual_seed(0)
        loss = generator.denoising_loss(conditioning, self.example_media(len(PROMPTS)))
        loss.backward()
        assert (loss.shape, loss.dtype) == ((), torch.float32)
        assert torch.isfinite(loss)
        for name, spec in generator.conditioning_spec.items():
            gradient = conditioning[name].grad
            assert spec.is_mask or (gradient is not None and gradient.abs().sum() > 0)
        for module in generator.modules.values():
            assert all(weight.grad is None for weight in module.parameters())

    def test_weights_are_frozen_and_never_change(self, generator: Generator, conditioning: Conditioning) -> None:
        before = weights_hash(generator)
        generator.generate(pick(conditioning, [0]), [GenerationOptions()])
        generator.denoising_loss(conditioning, self.example_media(len(PROMPTS)))
        assert weights_hash(generator) == before
        for module in generator.modules.values():
            assert not any(part.training for part in module.modules())
            assert not any(weight.requires_grad for weight in module.parameters())

    def test_wrong_conditioning_is_refused(self, generator: Generator, conditioning: Conditioning) -> None:
        name = next(name for name, spec in generator.conditioning_spec.items() if not spec.is_mask)
        options = [GenerationOptions()] * len(PROMPTS)
        with pytest.raises(RequestError, match=f"conditioning: nothing given, expected .*{name}"):
            generator.generate({}, options)
        with pytest.raises(
            RequestError, match=rf"conditioning '\w+': shape \(3, .* given, expected \({len(PROMPTS)}, "
        ):
            generator.generate(pick(conditioning, [0, 1, 2]), options)
        with pytest.raises(RequestError, match=f"conditioning '{name}': shape .* given, expected "):
            generator.generate({**conditioning, name: conditioning[name][:, :-1]}, options)
        with pytest.raises(RequestError, match=f"conditioning '{name}': NaN or infinity given"):
            generator.generate({**conditioning, name: conditioning[name] * torch.nan}, options)
        with pytest.raises(RequestError, match="no items given"):
            generator.generate(pick(conditioning, []), [])

    def test_generate_ignores_a_gradient_that_the_conditioning_carries(
        self, generator: Generator, conditioning: Conditioning
    ) -> None:
        for name, spec in generator.conditioning_spec.items():
            conditioning[name].requires_grad_(not spec.is_mask)
        assert generator.generate(pick(conditioning, [0]), [GenerationOptions()])

    def test_nothing_is_printed(
        self, generator: Generator, conditioning: Conditioning, capfd: pytest.CaptureFixture[str]
    ) -> None:
        generator.encode_prompt(["a cat " * 200])
        generator.generate(pick(conditioning, [0]), [GenerationOptions()])
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("pretrained", ["/no/such/folder", "embedded:tiny/nothing"])
    def test_weights_that_are_not_there_are_named(self, generator: Generator, pretrained: str) -> None:
        with pytest.raises(CheckpointError, match=f"'{pretrained}'"):
            type(generator).from_config(generator.Config(pretrained=pretrained))
