"""What is measured beside the cells of the matrix: questions, comparisons, several things at once, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from anygpt.messages import modality_of
from pipelines.assistant import Reply
from pipelines.tiny.evaluation.trials import QUESTIONS, Builder, Context, Trial, everything
from pipelines.tiny.world.media_turns import MAKE
from pipelines.tiny.world.oracle import READERS, read_comparison, read_verdict
from pipelines.tiny.world.outside_words import unknown_thing
from pipelines.tiny.world.phrases import NOUNS, VERBS, paraphrase, stated_value, value_phrase
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.replies import OUTSIDE
from pipelines.tiny.world.scenes import VALUES, attributes_of
from pipelines.tiny.world.turns import MAKEABLE
from pipelines.tiny.world.word_turns import COMPARED

COMPARISON = "comparison"
VERDICT = "verdict"
REFUSAL = "refusal"
THREE_MEDIA = "three media"


def comparison(context: Context) -> Trial:
    """Whether two media are alike in one attribute; both values and the verdict must be right."""
    attribute = context.rng.choice([name for name in COMPARED if context.inputs_with(name)])
    modalities = [context.rng.choice(context.inputs_with(attribute)) for _ in range(2)]
    first, second = (context.scene(modality) for modality in modalities)
    alike = first.changed(attribute, second.value(attribute))
    if context.rng.random() < 0.5 and alike.seen == context.seen:
        first = alike
    shown = [
        render(scene, modality, context.rng.getrandbits(32))
        for scene, modality in zip((first, second), modalities, strict=True)
    ]
    one, other = first.value(attribute), second.value(attribute)
    expected = {"attribute": attribute, "first": one, "second": other, "same": "yes" if one == other else "no"}
    return Trial(((*shown, context.ask(f"compare_{attribute}")),), COMPARISON, expected)


def check(context: Context) -> Trial:
    """Whether one attribute of a medium has a value: a yes or no, and both values must be right."""
    source = context.rng.choice(context.inputs)
    scene = context.scene(source)
    attribute = context.rng.choice(scene.attributes)
    value = scene.value(attribute)
    others = [other for other in VALUES[attribute] if other != value]
    asked = value if context.rng.random() < 0.5 else context.rng.choice(others)
    said = context.ask(f"check_{attribute}", value=stated_value(attribute, asked, context.rng))
    expected = {"asked": asked, "stated": value, "verdict": "yes" if asked == value else "no"}
    return Trial((context.shown_with(scene, source, said),), VERDICT, expected)


def two_changes(context: Context) -> Trial:
    """A picture of which two attributes change at once; the rest must hold."""
    scene = context.scene("image")
    names = context.rng.sample(["colour", "size", "position"], 2)
    after = None
    while after is None or (context.seen and not after.seen):
        after = scene
        for name in names:
            others = [value for value in VALUES[name] if value != scene.value(name)]
            after = after.changed(name, context.rng.choice(others))
    one, other = (value_phrase(name, after.value(name), context.rng) for name in names)
    said = context.ask("edit_two", one=one, other=other)
    return Trial((context.shown_with(scene, "image", said),), "image", everything(after))


def three_media(context: Context) -> Trial:
    """A scene in words as a picture, a sound and a video, in any order."""
    scene = context.scene("video")
    order = context.rng.sample(MAKEABLE, len(MAKEABLE))
    acts = context.rng.random() < 0.5
    names, words = (("act", "act_too", "act_third"), VERBS) if acts else (("one", "other", "third"), NOUNS)
    slots = {name: context.rng.choice(words[modality]) for name, modality in zip(names, order, strict=True)}
    said = context.ask("act_three" if acts else "make_three", scene=paraphrase(scene, context.rng), **slots)
    shared = {modality: [n for n in scene.attributes if n in attributes_of(modality)] for modality in MAKEABLE}
    expected = {f"{modality} {name}": scene.value(name) for modality, names in shared.items() for name in names}
    return Trial(((said,),), THREE_MEDIA, expected)


def refusal(context: Context) -> Trial:
    """A thing or a colour that the world does not have, in words that training never used."""
    part = context.rng.choice(list(MAKE.values()))
    said = context.ask(part, scene=unknown_thing(context.split, context.rng))
    return Trial(((said,),), REFUSAL, {"refused": "yes"})


def skills(inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, Builder]:
    """Row → what makes its trials, of those that a stack with these media can do."""
    rows = {f"questions about {source}": builder for source, builder in QUESTIONS.items() if source in inputs}
    if inputs:
        rows |= {"yes or no": check, "comparing two media": comparison}
    if "image" in inputs and "image" in outputs:
        rows["two changes at once"] = two_changes
    if set(MAKEABLE) <= set(outputs):
        rows |= {"three media at once": three_media, "refusing what is unknown": refusal}
    return rows


def read_refusal(text: str) -> dict[str, str | None]:
    """{"refused": "yes"} of the words for it, else "no"."""
    return {"refused": "yes" if text.strip() == OUTSIDE else "no"}


def read_three(reply: Reply) -> dict[str, str | None]:
    """What the oracle reads in each medium, as {"image colour": "red"}; nothing unless the reply has one of each."""
    media = [part for part in reply.parts if not isinstance(part, str)]
    if sorted(map(modality_of, media)) != sorted(MAKEABLE):
        return {}
    readings = {modality_of(medium): READERS[modality_of(medium)](medium) for medium in media}
    return {f"{modality} {name}": read.get(name) for modality, read in readings.items() for name in VALUES}


# Kind of reply → how the text of a reply is read.
TEXT_READERS: Mapping[str, Callable[[str], Mapping[str, str | None]]] = {
    COMPARISON: read_comparison,
    VERDICT: read_verdict,
    REFUSAL: read_refusal,
}
