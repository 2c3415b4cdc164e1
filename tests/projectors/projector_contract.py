"""What every projector must do. Test modules subclass one of the two contracts and say how to build theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from anygpt.errors import ConfigError
from anygpt.tensors import ConditioningSpec, Features, TensorSpec
from projectors.contract import InputProjector, OutputProjector

TOLERANCE = 1e-5
IN_DIM, IN_TOKENS, OUT_DIM = 24, 6, 40  # D, T, H of the input projectors under test
SPEC: ConditioningSpec = {
    "prompt_embeds": TensorSpec((5, 12)),
    "attention_mask": TensorSpec((5,), is_mask=True),
    "generated_prompt_embeds": TensorSpec((3, 8)),
}
NUM_SIGNAL_TOKENS = 4


class _ProjectorContract:
    """What both kinds share.

    Attributes:
        config: the tiny options under test.
    """

    projector_class: ClassVar[Any]
    config: ClassVar[Any]

    @classmethod
    def build(cls, config: Any = None) -> Any:
        """A freshly initialised projector, always with the same weights."""
        raise NotImplementedError

    @classmethod
    def run(cls, projector: nn.Module) -> list[Tensor]:
        """All learned outputs for three fixed items, batch first."""
        raise NotImplementedError

    def test_a_gradient_reaches_every_parameter(self) -> None:
        projector = self.build()
        loss = torch.zeros(())
        for output in self.run(projector):
            loss = loss + (output * torch.randn(output.shape)).sum()
        loss.backward()
        starved = [name for name, value in projector.named_parameters() if value.grad is None or not value.grad.any()]
        assert starved == []

    def test_state_dict_round_trip_gives_the_same_outputs(self) -> None:
        source, target = self.build(), self.build()
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        target.load_state_dict(source.state_dict(), strict=True)
        for expected, output in zip(self.run(source), self.run(target), strict=True):
            assert torch.equal(output, expected)

    def test_outputs_differ_by_item_and_by_position_before_training(self) -> None:
        for output in self.run(self.build()):
            output = output / output.std()
            assert (output[0] - output[1]).abs().max() > 1e-2
            if output.shape[1] > 1:
                assert torch.cdist(output[0], output[0]).add(torch.eye(output.shape[1])).min() > 1e-2

    def test_in_dim_that_fits_is_accepted(self) -> None:
        projector = self.build()
        assert self.build(replace(self.config, in_dim=projector.in_dim)).in_dim == projector.in_dim

    def test_in_dim_that_does_not_fit_is_refused_with_the_fix(self) -> None:
        in_dim = self.build().in_dim
        with pytest.raises(
            ConfigError,
            match=rf"projector '{self.config.name}': input width 7, but the \w+ gives {in_dim}; set in_dim={in_dim}",
        ):
            self.build(replace(self.config, in_dim=7))

    def test_config_comes_through_omegaconf(self) -> None:
        values = OmegaConf.merge(OmegaConf.structured(self.projector_class.Config), {"in_dim": 5})
        assert OmegaConf.to_object(values) == self.projector_class.Config(in_dim=5)


class InputProjectorContract(_ProjectorContract):
    """Every `test_` method holds for every input projector."""

    projector_class: ClassVar[type[InputProjector]]

    @classmethod
    def build(cls, config: Any = None) -> InputProjector:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return cls.projector_class(config or cls.config, in_dim=IN_DIM, in_tokens=IN_TOKENS, out_dim=OUT_DIM).eval()

    @classmethod
    def run(cls, projector: nn.Module) -> list[Tensor]:
        return [projector(make_features())[0]]

    def test_output_shape_is_m_by_h(self) -> None:
        projector = self.build()
        embeddings, valid_mask = projector(make_features())
        assert embeddings.shape == (3, projector.num_tokens, OUT_DIM)
        assert valid_mask.shape == (3, projector.num_tokens)
        assert valid_mask.dtype == torch.bool
        assert valid_mask.all()

    def test_features_of_another_dtype_are_taken(self) -> None:
        embeddings, _ = self.build()(make_features().to("cpu", torch.bfloat16))
        assert embeddings.dtype == torch.float32

    def test_batch_equals_single(self) -> None:
        projector, features = self.build(), make_features(lengths=(6, 4, 1))
        together, together_valid = projector(features)
        for index in range(3):
            item = Features(features.tokens[index : index + 1], features.valid_mask[index : index + 1])
            alone, alone_valid = projector(item)
            torch.testing.assert_close(alone[0], together[index], atol=TOLERANCE, rtol=0)
            assert torch.equal(alone_valid[0], together_valid[index])

    def test_padded_tokens_change_nothing(self) -> None:
        projector, features = self.build(), make_features(lengths=(6, 4, 1))
        expected, expected_valid = projector(features)
        for rubbish in (1e4, torch.nan):
            tokens = features.tokens.masked_fill(~features.valid_mask[..., None], rubbish)
            embeddings, valid_mask = projector(Features(tokens, features.valid_mask))
            assert torch.equal(valid_mask, expected_valid)
            assert torch.equal(embeddings[valid_mask], expected[valid_mask])

    def test_shorter_features_are_as_padded_ones(self) -> None:
        projector, features = self.build(), make_features(lengths=(4, 4, 4))
        expected, expected_valid = projector(features)
        embeddings, valid_mask = projector(Features(features.tokens[:, :4], features.valid_mask[:, :4]))
        assert torch.equal(valid_mask, expected_valid)
        assert torch.equal(embeddings, expected)

    def test_an_item_without_valid_tokens_is_invalid_and_finite(self) -> None:
        embeddings, valid_mask = self.build()(make_features(lengths=(6, 0, 6)))
        assert valid_mask.any(dim=1).tolist() == [True, False, True]
        assert embeddings.isfinite().all()

    def test_outputs_start_at_the_asked_scale(self) -> None:
        projector = self.build(replace(self.config, output_std=0.05))
        assert self.run(projector)[0].std().item() == pytest.approx(0.05, rel=0.1)

    def test_output_std_none_leaves_the_outputs_alone(self) -> None:
        projector = self.build(replace(self.config, output_std=None))
        assert not any(name.startswith("scale") for name, _ in projector.named_parameters())
        assert self.run(projector)[0].std() > 0.1

    @pytest.mark.parametrize("output_std", [-1.0, 0.0, float("nan"), float("inf")])
    def test_output_std_that_is_not_above_zero_is_refused(self, output_std: float) -> None:
        with pytest.raises(ConfigError, match=rf"output_std={output_std}, expected a positive number or null; set"):
            replace(self.config, output_std=output_std)

    def test_features_that_do_not_fit_are_refused(self) -> None:
        projector = self.build()
        for tokens in (torch.zeros(2, IN_TOKENS, IN_DIM + 1), torch.zeros(2, IN_TOKENS + 1, IN_DIM)):
            features = Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))
            with pytest.raises(ConfigError, match=rf"features of shape \(2, .*\), expected \(B, up to 6, {IN_DIM}\)"):
                projector(features)


class OutputProjectorContract(_ProjectorContract):
    """Every `test_` method holds for every output projector."""

    projector_class: ClassVar[type[OutputProjector]]

    @classmethod
    def build(cls, config: Any = None, spec: ConditioningSpec | None = None) -> OutputProjector:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return cls.projector_class(
                config or cls.config, in_dim=OUT_DIM, num_signal_tokens=NUM_SIGNAL_TOKENS, spec=spec or SPEC
            ).eval()

    @classmethod
    def run(cls, projector: nn.Module) -> list[Tensor]:
        conditioning = projector(make_states())
        return [conditioning["prompt_embeds"], conditioning["generated_prompt_embeds"]]

    def test_output_is_as_the_spec_says(self) -> None:
        conditioning = self.build()(make_states())
        assert list(conditioning) == list(SPEC)
        for name, tensor in SPEC.items():
            assert conditioning[name].shape == (3, *tensor.shape)
            assert conditioning[name].dtype == (torch.int64 if tensor.is_mask else torch.float32)
        assert conditioning["attention_mask"].eq(1).all()

    def test_states_of_another_dtype_are_taken(self) -> None:
        assert self.build()(make_states().bfloat16())["prompt_embeds"].dtype == torch.float32

    def test_batch_equals_single(self) -> None:
        projector, states = self.build(), make_states()
        together = projector(states)
        for index in range(3):
            for name, alone in projector(states[index : index + 1]).items():
                torch.testing.assert_close(alone[0], together[name][index], atol=TOLERANCE, rtol=0)

    def test_every_signal_token_counts(self) -> None:
        projector, states = self.build(), make_states()
        before = projector(states)["prompt_embeds"]
        for index in range(NUM_SIGNAL_TOKENS):
            changed = states.clone()
            changed[:, index] = torch.randn(OUT_DIM, generator=torch.Generator().manual_seed(index))
            assert not torch.allclose(projector(changed)["prompt_embeds"], before, atol=1e-4)

    def test_states_that_do_not_fit_are_refused(self) -> None:
        projector = self.build()
        for shape in ((2, NUM_SIGNAL_TOKENS + 1, OUT_DIM), (2, NUM_SIGNAL_TOKENS, OUT_DIM - 1), (2, OUT_DIM)):
            with pytest.raises(ConfigError, match=r"states of shape \(2, .*\), expected \(B, 4, 40\); build the proj"):
                projector(torch.zeros(shape))

    def test_a_spec_with_nothing_to_learn_is_refused(self) -> None:
        with pytest.raises(
            ConfigError, match=r"wants \['attention_mask'\], expected at least one tensor that is no mask"
        ):
            self.build(spec={"attention_mask": SPEC["attention_mask"]})

    def test_a_learned_tensor_that_is_no_sequence_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"wants 'pooled' of shape \(12,\), expected \(tokens, width\)"):
            self.build(spec={"pooled": TensorSpec((12,))})


def make_features(lengths: tuple[int, int, int] = (IN_TOKENS, IN_TOKENS, IN_TOKENS)) -> Features:
    """Three fixed random items of so many valid tokens."""
    tokens = torch.randn(3, IN_TOKENS, IN_DIM, generator=torch.Generator().manual_seed(1))
    return Features(tokens, torch.arange(IN_TOKENS)[None] < torch.tensor(lengths)[:, None])


def make_states() -> Tensor:
    """Signal-token states (3, n, H), fixed and random."""
    return torch.randn(3, NUM_SIGNAL_TOKENS, OUT_DIM, generator=torch.Generator().manual_seed(2))
