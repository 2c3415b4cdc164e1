"""The backbone stage: input projectors, language model and output projectors, everything that is trained in one place.

Legend: M prompt embeddings of one medium, n signal tokens, H LLM width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from anygpt.config.resolve import resolve_component
from anygpt.config.schema import StackConfig
from anygpt.errors import RequestError
from anygpt.messages import Message
from anygpt.options import SamplingOptions
from anygpt.tensors import ConditioningSpec, Features
from backbone.contract import Backbone
from backbone.prompt import MediaSegment, Prompt, Segment, SignalSegment
from backbone.steps import RowDone, SignalBlock, TextPiece
from pipelines.stack.stage_types import FeatureShape, MediumRequest
from projectors import INPUT_PROJECTORS, OUTPUT_PROJECTORS
from projectors.contract import InputProjector, OutputProjector

# modality → features of that modality's media in a conversation, in order: tokens (media, T, D).
ConversationFeatures = Mapping[str, Features]


class BackboneStage(nn.Module):
    """Conversations and features in; text and conditioning out."""

    def __init__(
        self,
        backbone: Backbone,
        input_projectors: Mapping[str, InputProjector],
        output_projectors: Mapping[str, OutputProjector],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.input_projectors = nn.ModuleDict(input_projectors)
        self.output_projectors = nn.ModuleDict(output_projectors)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def build(
        cls,
        config: StackConfig,
        backbone: Backbone,
        encoders: Mapping[str, FeatureShape],
        generators: Mapping[str, ConditioningSpec],
    ) -> BackboneStage:
        """Make untrained adapters that fit the backbone, the encoders and the generators.

        Raises:
            ConfigError: if a section's options cannot fit.
        """
        placement = config.placed("backbone")
        input_projectors, output_projectors = {}, {}
        for modality, shape in encoders.items():
            where = f"projectors.input.{modality}"
            projector, options = resolve_component(INPUT_PROJECTORS, config.projectors.input[modality], where)
            input_projectors[modality] = projector(
                options, in_dim=shape.feature_dim, in_tokens=shape.num_tokens, out_dim=backbone.hidden_size
            )
        for modality, spec in generators.items():
            where = f"projectors.output.{modality}"
            projector, options = resolve_component(OUTPUT_PROJECTORS, config.projectors.output[modality], where)
            size = backbone.signal_tokens.group(modality).size
            output_projectors[modality] = projector(
                options, in_dim=backbone.hidden_size, num_signal_tokens=size, spec=spec
            )
        stage = cls(backbone, input_projectors, output_projectors).to(placement.device)
        for projectors in (stage.input_projectors, stage.output_projectors):
            projectors.to(torch.promote_types(getattr(torch, placement.dtype), torch.float32))
        return stage

    @property
    def device(self) -> torch.device:
        """Where the stage's weights are."""
        return self.backbone.signal_tokens.input_rows.device

    def prompt(self, conversation: Sequence[Message], *, learn_replies: bool = False) -> Prompt:
        """A conversation as the language model reads it.

        Raises:
            RequestError: if it holds a medium for which there is no input projector.
        """
        prompt = self.backbone.prompts.build(conversation, learn_replies=learn_replies)
        for modality in prompt.media:
            if modality not in self.input_projectors:
                known = ", ".join(self.input_projectors) or "none"
                raise RequestError(f"conversation: {modality} given, but this stack only takes in: text, {known}")
        return prompt

    def check(self, conversation: Sequence[Message]) -> None:
        """Refuse beforehand what could not be answered and would cost its neighbours in a batch.

        Raises:
            RequestError: if the conversation holds an unknown medium or is longer than the context.
        """
        self.check_length(self.prompt(conversation))

    def check_length(self, prompt: Prompt) -> None:
        """Refuse a prompt that leaves no room in the context.

        Raises:
            RequestError: with both lengths.
        """
        tokens = sum(self._length(segment) for segment in prompt.segments)
        limit = self.backbone.max_context_tokens
        if tokens >= limit:
            raise RequestError(f"conversation: {tokens} tokens given, the context holds {limit}; shorten it")

    def _length(self, segment: Segment) -> int:
        """Tokens of a segment; of a medium, as many as its projector may make."""
        if isinstance(segment, MediaSegment):
            projector = cast(InputProjector, self.input_projectors[segment.modality])
            return projector.num_tokens
        return segment.group.size if isinstance(segment, SignalSegment) else len(segment.ids)

    def project(self, features: Sequence[ConversationFeatures]) -> list[dict[str, list[Tensor]]]:
        """Project the media of several conversations, one pass a modality.

        Returns:
            Per conversation: modality → one (M, H) tensor for every medium, padding removed.
        """
        projected: list[dict[str, list[Tensor]]] = [{} for _ in features]
        for modality, projector in self.input_projectors.items():
            owners = [at for at, given in enumerate(features) if modality in given]
            if not owners:
                continue
            given = [features[at][modality].to(self.device) for at in owners]
            joined = Features(torch.cat([f.tokens for f in given]), torch.cat([f.valid_mask for f in given]))
            embeds_NMH, valid_NM = projector(joined)
            media = iter(embeds[valid] for embeds, valid in zip(embeds_NMH, valid_NM, strict=True))
            for at, own in zip(owners, given, strict=True):
                projected[at][modality] = [next(media) for _ in range(len(own.tokens))]
        return projected

    @torch.inference_mode()
    def reply(
        self,
        conversations: Sequence[Sequence[Message]],
        features: Sequence[ConversationFeatures],
        options: Sequence[SamplingOptions],
        seeds: Sequence[int],
        should_stop: Callable[[int], bool] | None = None,
    ) -> Iterator[TextPiece | MediumRequest | RowDone]:
        """Write replies in one batch; every signal block comes out as conditioning for its generator."""
        prompts = [self.prompt(conversation) for conversation in conversations]
        for event in self.backbone.decode(prompts, self.project(features), options, seeds, should_stop):
            if isinstance(event, SignalBlock):
                states_1nH = event.states_nH[None].to(self.device)
                conditioning = self.output_projectors[event.modality](states_1nH)
                yield MediumRequest(event.row, event.modality, conditioning)
            else:
                yield event
