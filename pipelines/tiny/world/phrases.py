# ruff: noqa: E501 (one template a line would make this file unreadable)
"""How people say things to the assistant: templates by request family, and ways of saying a scene.

`TRAIN` is what the recipes train on; `HELD_OUT` is never trained on and measures whether phrasing is really free.
`{scene}` is a noun phrase ("a small red circle at the top left"), `{value}` an attribute's new value.
"""

from __future__ import annotations

import functools
import random
import re
import string
from typing import Literal

from pipelines.tiny.world import compositions, compound_phrases, media_phrases
from pipelines.tiny.world.compositions import compose
from pipelines.tiny.world.scenes import Scene

Split = Literal["train", "held_out"]

SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
CENTRE_PLACES = ("at the center", "in the center", "in the middle", "at the centre", "in the centre")
ROW_WORDS = {"top": ("top", "upper"), "bottom": ("bottom", "lower")}
_MOVING = ("moving {}", "going {}", "drifting {}", "that moves {}", "that goes {}")
# Motion → ways of saying it, the canonical one first; what is still may also go unsaid.
MOTION_WAYS = {
    "still": ("standing still", "not moving", "at rest", "that stands still", "that does not move"),
    "left": (*(way.format("left") for way in _MOVING), "moving to the left", "going leftwards", "sliding left"),
    "right": (*(way.format("right") for way in _MOVING), "moving to the right", "going rightwards", "sliding right"),
    "up": (*(way.format("up") for way in _MOVING), "moving upwards", "going upwards", "rising", "climbing"),
    "down": (*(way.format("down") for way in _MOVING), "moving downwards", "going downwards", "falling", "sinking"),
}
# What a thing is told to do: motion → ways of saying it.
_MOVE = ("move {}", "go {}", "drift {}", "slide {}")
MOVE_WAYS = {
    "still": ("stand still", "stay still", "stop", "stop moving", "not move", "rest"),
    "left": (*(way.format("left") for way in _MOVE), "move to the left", "go leftwards"),
    "right": (*(way.format("right") for way in _MOVE), "move to the right", "go rightwards"),
    "up": (*(way.format("up") for way in _MOVE), "move upwards", "go upwards", "rise", "climb"),
    "down": (*(way.format("down") for way in _MOVE), "move downwards", "go downwards", "fall", "sink"),
}
# Motion → the way alone, as in "Now to the left."
WAYS = {
    "left": ("left", "to the left", "leftwards"),
    "right": ("right", "to the right", "rightwards"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
}
# Modality → what people call a medium of it, and what they have the assistant do to get one.
NOUNS = {
    "image": ("a picture", "an image", "a drawing", "a painting"),
    "audio": ("a sound", "an audio clip", "a recording", "a tone"),
    "video": ("a video", "a clip", "a film", "an animation"),
}
VERBS = {"image": ("draw", "paint", "sketch"), "audio": ("play", "sound out"), "video": ("film", "animate")}
STILL_UNSAID = 0.6  # how often a paraphrase does not say that a thing is still

TRAIN: dict[str, tuple[str, ...]] = media_phrases.TRAIN | compound_phrases.TRAIN | {
    "draw": (
        "Draw {scene}.", "Paint {scene}.", "Sketch {scene}.", "Show me {scene}.", "Make a picture of {scene}.",
        "Create an image of {scene}.", "I want a picture of {scene}.", "I would like to see {scene}.",
        "Can you draw {scene}?", "Could you paint {scene}?", "Give me an image with {scene}.", "Picture of {scene}",
        "An image of {scene}, please.", "Generate {scene}.", "Generate a picture that shows {scene}.",
        "Draw me {scene}.", "Please sketch {scene} for me.", "Let me see {scene}.", "Make an image: {scene}.",
        "Illustrate {scene}.", "Produce a drawing of {scene}.", "I need an image of {scene}.",
        "Would you draw {scene}?", "Render {scene}.", "Design a picture with {scene}.", "Put {scene} in a picture.",
        "How would {scene} look?", "What does {scene} look like? Draw it.", "Draw a picture of {scene}.",
        "Create a drawing that has {scene}.", "Show {scene} in an image.", "Now draw {scene}.",
        "Paint me a picture of {scene}.", "Try to draw {scene}.", "Visualize {scene}.", "Could I have {scene}?",
        "Can I get a picture of {scene}?", "Do a quick sketch of {scene}.", "I'd love an image of {scene}.",
        "Send me a picture with {scene}.", "{scene}, as a picture.", "Draw this: {scene}.",
        "Make me a picture with {scene} on it.", "Produce an image that has {scene} inside.", "Get {scene} on paper.",
        "Would you do a picture with {scene} on it?", "I want {scene} drawn.", "An image where {scene} is shown, please.",
    ),
    "draw_it": (
        "Draw it.", "Draw that.", "Now draw it.", "Show it as a picture.", "Paint it.", "Can you draw it?",
        "Make a picture of it.", "Show me.", "Let me see it.", "Draw this.", "Create an image of it.", "Sketch it.",
        "Could you paint that?", "I want to see it.", "Turn it into a picture.", "Make an image of that.",
        "Render it.", "Draw what I said.", "Picture, please.", "Give me an image of it.", "Please draw it for me.",
        "Generate an image of it.", "Show me a picture of it.", "Draw the same thing.", "Copy it.", "Draw it again.",
        "Redraw it.", "Repeat it as a picture.", "Make the same picture.", "Show it to me.", "Let's see it.",
        "Please show that in a picture.", "Can I see it?", "How does it look?", "Draw exactly that.",
        "Put it in a picture.", "Produce an image of this.", "Visualize it.", "I'd like to see that.", "Illustrate it.",
    ),
    "say": (
        "Imagine {scene}.", "There is {scene}.", "Think of {scene}.", "Suppose there is {scene}.", "Let there be {scene}.",
        "Say we have {scene}.", "I have {scene}.", "We start with {scene}.", "Consider {scene}.", "Remember {scene}.",
        "I am thinking of {scene}.", "Keep {scene} in mind.", "Assume {scene}.", "Let us take {scene}.",
        "Here we have {scene}.", "You are looking at {scene}.", "In front of us is {scene}.", "I see {scene}.",
        "My scene is {scene}.", "The scene: {scene}.", "Let's begin with {scene}.", "Start from {scene}.",
        "Note this: {scene}.", "Scene: {scene}.", "Let's say there is {scene}.", "It is {scene}.", "This is {scene}.",
        "Take {scene}.", "Can you imagine {scene}?", "Think about {scene}.", "Let's imagine {scene}.",
        "Hold {scene} in your memory.", "On my desk is {scene}.", "Now there is {scene}.", "We have {scene}.",
        "Please remember {scene}.", "Suppose I had {scene}.", "Let me tell you about {scene}.", "Pretend there is {scene}.",
        "Somewhere there is {scene}.",
    ),
    "describe": (
        "What is this?", "Describe it.", "What do you see?", "Describe the picture.", "What is in the image?",
        "Tell me what you see.", "What is shown here?", "Say what this is.", "What does the picture show?",
        "Give me a description.", "Caption this.", "Write a caption.", "What can you see in the picture?",
        "Describe what is there.", "What have we got here?", "Please describe the image.", "What's this?",
        "What's in the picture?", "Can you describe it?", "Could you tell me what this is?", "Explain the picture.",
        "Put it into words.", "Describe this image in one sentence.", "What am I looking at?", "Which thing is this?",
        "Tell me about the picture.", "What is it?", "Describe the scene.", "What is there?", "Say what you see.",
        "How would you describe this?", "What is depicted?", "Summarize the image.", "In words, please.",
        "Do you know what this is?", "What thing is in this picture?", "Tell me what is in it.", "Name what you see.",
        "Please tell me what it is.", "Give a caption for the image.", "Describe everything you see.",
        "Tell me what this image is about.", "Could you say what the picture has in it?", "I want to know what you see.",
        "Say what the picture shows.", "Please say in words what is shown.",
    ),
    "ask_colour": (
        "What colour is it?", "What color is it?", "Which colour does it have?", "Tell me its color.", "What is its colour?",
        "Is it red or blue or something else?", "Which color is this?", "What's the colour?", "Name the color.",
        "What color is the shape?", "Can you tell me the colour?", "The colour?", "What colour do you see?",
        "Say which colour it has.", "I want to know the color.", "And what about the colour?", "Tell me the color.",
    ),
    "ask_shape": (
        "What shape is it?", "Which shape is this?", "Tell me its shape.", "What is its shape?", "Name the shape.",
        "What kind of shape is it?", "Is it a circle, a square or something else?", "What's the shape?", "The shape?",
        "Which form does it have?", "What shape do you see?", "Can you tell me the shape?", "What figure is this?",
        "Say which shape it has.", "I want to know the shape.", "And what about the shape?", "Tell me the shape.",
    ),
    "ask_size": (
        "How big is it?", "What size is it?", "Is it small or large?", "Is it big?", "Tell me its size.", "How large is it?",
        "What is its size?", "Which size does it have?", "What's the size?", "The size?", "Is it little or big?",
        "Can you tell me the size?", "Is it a large one or a small one?", "Say how large it is.", "Tell me the size.",
        "I want to know how big it is.", "And what about the size?", "How big is the shape?", "Say how big this is.",
    ),
    "ask_position": (
        "Where is it?", "Where is the shape?", "In which place is it?", "Tell me its position.", "What is its position?",
        "Where do you see it?", "Which part of the picture is it in?", "Where can I find it?", "What's the position?",
        "The position?", "Where in the image is it?", "Can you tell me where it is?", "Which corner or side is it at?",
        "Say where it is.", "I want to know where it is.", "And what about the position?", "Tell me the place.",
    ),
    "edit_colour": (
        "Make it {value}.", "Now make it {value}.", "Change the colour to {value}.", "Change its color to {value}.",
        "Paint it {value}.", "Turn it {value}.", "The same, but {value}.", "I want it in {value}.", "Let it be {value}.",
        "Color it {value}.", "Could you make it {value}?", "It should be {value}.", "Same thing in {value}.",
        "Instead, make it {value}.", "What if it were {value}?", "I'd prefer {value}.", "Rather {value}.", "No, {value}.",
        "Make that {value}.", "It has to be {value}.", "I would like it to be {value}.", "Change it so that it is {value}.",
    ),
    "edit_shape": (
        "Make it a {value}.", "Now make it a {value}.", "Change the shape to a {value}.", "Turn it into a {value}.",
        "The same, but a {value}.", "I want a {value} instead.", "Let it be a {value}.", "Replace it with a {value}.",
        "Could you make it a {value}?", "It should be a {value}.", "Change it into a {value}.", "Same thing as a {value}.",
        "Swap it for a {value}.", "What if it were a {value}?", "Give it the shape of a {value}.",
        "I'd prefer a {value}.", "Rather a {value}.", "No, a {value}.", "Make that a {value}.", "It has to be a {value}.",
        "I would like it to be a {value}.", "A {value} would be better.", "I want to have a {value} there.",
        "Change it so that it is a {value}.", "I want a {value}, the rest stays.",
    ),
    "edit_size": (
        "Make it {value}.", "Now make it {value}.", "Change the size to {value}.", "The same, but {value}.",
        "I want it {value}.", "Let it be {value}.", "Could you make it {value}?", "It should be {value}.",
        "Change its size to {value}.", "Same thing, but {value}.", "I need a {value} one.", "A {value} one, please.",
        "Instead, make it {value}.", "What if it were {value}?", "Give me the {value} version.",
        "I'd prefer it {value}.", "Rather {value}.", "No, {value}.", "Make that {value}.", "It has to be {value}.",
        "I would like it to be {value}.", "Change it so that it is {value}.",
    ),
    "edit_position": (
        "Move it {value}.", "Now move it {value}.", "Put it {value}.", "Place it {value}.", "The same, but {value}.",
        "I want it {value}.", "Shift it {value}.", "Could you move it {value}?", "It should be {value}.",
        "Change its position, {value}.", "Let it be {value}.", "Bring it {value}.", "Set it {value}.",
        "What if it were {value}?", "Same thing, {value}.", "I'd prefer it {value}.", "Rather {value}.", "No, {value}.",
        "It has to be {value}.", "I would like it to be {value}.", "Can you shift it {value}?", "Make it go {value}.",
        "Change it so that it is {value}.",
    ),
    "compare_shape": (
        "Are these the same shape?", "Do they have the same shape?", "Is the shape the same?", "Same shape?",
        "Do both have the same shape?", "Are the shapes equal?", "Compare the shapes.", "Do the shapes match?",
        "Are both the same kind of shape?", "Is it the same shape in both?", "Tell me if the shapes are the same.",
        "Have these two the same shape?", "Are the two shapes the same?", "Does the second have the same shape?",
        "Look at both: is the shape the same?", "Are they alike in shape?", "Is one shape different from the other?",
        "Check if the shapes are equal.", "Do these two match in shape?", "Are these shapes the same or different?",
    ),
    "compare_colour": (
        "Are these the same colour?", "Do they have the same color?", "Is the colour the same?", "Same color?",
        "Do both have the same colour?", "Are the colors equal?", "Compare the colours.", "Do the colors match?",
        "Are both the same color?", "Is it the same colour in both?", "Tell me if the colors are the same.",
        "Have these two the same colour?", "Are the two colors the same?", "Does the second have the same colour?",
        "Look at both: is the color the same?", "Are they alike in colour?", "Is one color different from the other?",
        "Check if the colours are equal.", "Do these two match in color?", "Are these colours the same or different?",
    ),
    "greet": (
        "Hello", "Hi!", "Hey there", "Good morning", "Good evening!", "Hello, who are you?", "Hi, how are you?",
        "What can you do?", "Help", "Who are you?", "How do you work?", "What do you know?", "What are you able to do?",
        "Can you help me?", "Tell me about yourself.", "What is this program?", "How can I use you?", "Greetings!",
        "Hello there!", "Hi, can you help?", "What are your abilities?", "Give me an example of what you can do.",
        "I am new here.", "How do I start?", "What should I ask you?", "Hey, what is your name?", "Good afternoon.",
        "Are you a robot?", "Nice to meet you.", "Introduce yourself.", "What things can I ask for?", "Show me what you can do.",
        "Hey", "Yo", "Is anyone there?", "Are you there?", "What is anygpt?", "Explain what you do.", "Test",
        "What colours do you know?", "Which colors can you draw?", "What shapes do you know?", "Which shapes can you make?",
        "What can you draw?", "What can you play?", "Which media can you make?", "What may I show you?",
    ),
    "outside": (
        "What is the capital of France?", "Write a poem about the sea.", "How do I cook rice?", "Who won the game?",
        "Draw a cat.", "Draw a house with a tree.", "Paint a portrait of my mother.", "Show me a dog.", "What is 2 + 2?",
        "Translate this to German.", "Tell me a joke.", "What is the weather today?", "Write some Python code.",
        "Who is the president?", "How old is the universe?", "Draw a red car.", "Make a picture of a blue horse.",
        "Sing a song.", "What time is it?", "Recommend a book.", "Explain quantum physics.", "Draw a mountain at night.",
        "Can you book a flight?", "How far away is the moon?", "Write an email to my boss.", "What is love?",
        "Solve this equation for me.", "Draw an elephant.", "Play some music by Bach.", "Who wrote Hamlet?",
        "Give me a recipe for soup.", "How do planes fly?", "Draw a purple hexagon.", "Make an orange pentagon.",
        "What is the meaning of life?", "Summarize the news.", "Draw a person.", "Show me a green tree.", "Fix my computer.",
        "What languages do you speak?", "Draw a city with people.", "Do you like football?", "Paint a flower.",
        "Draw a bird in the sky.", "How do I learn to swim?", "Where is the nearest hospital?",
    ),
}  # fmt: skip

HELD_OUT: dict[str, tuple[str, ...]] = media_phrases.HELD_OUT | compound_phrases.HELD_OUT | {
    "draw": (
        "Please make me an image that shows {scene}.", "I want you to draw {scene}.", "Could you show me {scene}?",
        "Let me have a drawing of {scene}.", "May I see {scene}?", "Draw for me {scene}.", "A drawing of {scene}, please.",
        "Can you create a picture with {scene} in it?", "I'd like an image: {scene}.", "Paint a picture that has {scene}.",
    ),
    "draw_it": (
        "Could you draw that for me?", "Now show me the picture.", "I would like a picture of it.", "Please paint this.",
        "Make a drawing of it.", "Can you show me that?", "Let me have a picture of it.", "Draw the thing.",
        "Create a picture of that, please.", "Now make an image of it.",
    ),
    "say": (
        "Let's think of {scene}.", "Imagine that there is {scene}.", "Suppose we have {scene}.", "In my mind I see {scene}.",
        "Picture in your mind {scene}.", "Let's suppose there is {scene}.", "I am looking at {scene}.", "Here is {scene}.",
        "Let us start with {scene}.", "Think: there is {scene}.",
    ),
    "describe": (
        "Can you say what you see here?", "Please tell me what the image shows.", "What do we have in this picture?",
        "Describe this for me.", "Could you describe the scene?", "What do you see in this image?", "Tell me what this shows.",
        "What is in here?", "Write down what you see.", "Give me a short description of the picture.",
    ),
    "ask_colour": ("Which colour is it?", "Tell me which color it is.", "What is the color of it?"),
    "ask_shape": ("What shape does it have?", "Tell me which shape it is.", "What is the shape of it?"),
    "ask_size": ("Is it large or small?", "Tell me how big it is.", "What is the size of it?"),
    "ask_position": ("Where is it in the picture?", "Tell me where it is.", "What place is it in?"),
    "edit_colour": ("Can you make it {value}?", "Please change it to {value}.", "I'd rather have it {value}."),
    "edit_shape": (
        "Can you turn it into a {value}?", "Please change it to a {value}.", "Now I want a {value}.", "Could it be a {value}?",
    ),
    "edit_size": ("Can you make it {value}?", "Could it be {value}?", "I'd rather have it {value}."),
    "edit_position": ("Can you put it {value}?", "I'd like you to move it {value}.", "Could it sit {value}?"),
    "compare_shape": (
        "Is the shape of both the same?", "Do these have the same shape?", "Tell me if they have the same shape.",
        "Are they the same shape?", "Do the two shapes match?",
    ),
    "compare_colour": (
        "Is the colour of both the same?", "Do these have the same color?", "Tell me if they have the same colour.",
        "Are they the same color?", "Do the two colours match?",
    ),
    "greet": (
        "Hi there!", "What are you good at?", "Can someone help me?", "What can I ask you?", "How can you help me?",
        "Hello, how are you?", "What do you do?", "Who is this?", "Good day!", "I need some help.",
    ),
    "outside": (
        "Who wrote Faust?", "Draw a fish.", "What is the capital of Spain?", "Tell me a story.", "How do I bake bread?",
        "Write a letter to my friend.", "Draw a big yellow house.", "What is 7 times 8?", "Show me a picture of a horse.",
        "How is the weather in Rome?",
    ),
}  # fmt: skip

# The request families as users know them, each made of one or more lists above.
FAMILIES = {
    "draw": ("draw",),
    "draw_it": ("draw_it",),
    "say": ("say",),
    "describe": ("describe",),
    "ask": (
        *("ask_colour", "ask_shape", "ask_size", "ask_position", "ask_motion"),
        *("check_colour", "check_shape", "check_size", "check_position", "check_motion"),
        *("ask_two", "ask_loudness", "ask_solid"),
    ),
    "edit": (
        *("edit_colour", "edit_shape", "edit_size", "edit_smaller", "edit_larger", "edit_position", "edit_motion"),
        *("edit_two", "edit_thing", "edit_and_make", "edit_louder", "edit_quieter"),
        *("edit_stop", "edit_reverse", "edit_way", "undo"),
    ),
    "compare": (
        *("compare_shape", "compare_colour", "compare_size", "compare_position", "compare_motion"),
        *("compare_before", "describe_two"),
    ),
    "greet": ("greet", "thank"),
    "outside": ("outside",),
    **media_phrases.FAMILIES,
}
COMPOSITIONS = compositions.COMPOSITIONS | media_phrases.COMPOSITIONS

COMPOSED_SHARE = 0.5  # of the training requests where there are compositions

OPENERS = ("Please", "Hey,", "Hi,", "OK,", "Well,", "So,", "Now", "And", "Hello,", "Great.", "Thanks.", "Good.", "Then")
CLOSERS = ("please", "for me", "now", "thanks", "if you can", "if possible", "thank you")


def place(position: str, rng: random.Random | None = None) -> str:
    """A position as a phrase: canonical "at the top left" without `rng`, any way of saying it with one."""
    if rng is None:
        return f"at the {position}"
    if position == "center":
        return rng.choice(CENTRE_PLACES)
    row, _, column = position.rpartition(" ")
    if row:
        corner = f"{rng.choice(ROW_WORDS[row])} {column}"
        return rng.choice(
            (f"at the {corner}", f"in the {corner}", f"in the {corner} corner", f"at the {corner} corner")
        )
    return rng.choice(
        (f"at the {position}", f"on the {position}", f"at the {position} side", f"on the {position} side")
    )


def movement(motion: str, rng: random.Random | None = None) -> str:
    """A motion as a phrase: canonical "moving up" without `rng`, any way of saying it with one; often "" for still."""
    if rng is None:
        return "" if motion == "still" else f"moving {motion}"
    if motion == "still" and rng.random() < STILL_UNSAID:
        return ""
    return rng.choice(MOTION_WAYS[motion])


def caption(scene: Scene) -> str:
    """The canonical noun phrase: "a small red circle at the top left", "a large blue star moving up", "a green square"."""
    where = "" if scene.position is None else place(scene.position)
    how = "" if scene.motion is None else movement(scene.motion)
    return " ".join(f"a {scene.size or ''} {scene.colour} {scene.shape} {where} {how}".split())


def paraphrase(scene: Scene, rng: random.Random, omit: frozenset[str] = frozenset()) -> str:
    """One of many ways to say the scene; attributes in `omit` (all but the shape) and those it lacks are left out."""
    said = {attribute for attribute in scene.attributes if attribute not in omit}
    size = rng.choice(SIZE_WORDS[scene.value("size")]) if "size" in said else ""
    colour = scene.colour if "colour" in said else ""
    where = place(scene.value("position"), rng) if "position" in said else ""
    how = movement(scene.value("motion"), rng) if "motion" in said else ""
    after = f"{where} {how}"
    forms = [f"a {size} {colour} {scene.shape} {after}"] * 4
    if colour:
        forms.append(f"a {size} {scene.shape} in {colour} {after}")
        forms.append(f"a {size} {scene.shape} {after} that is {colour}")
    if size:
        forms.append(f"a {colour} {scene.shape} {after} that is {size}")
        forms.append(f"a {colour} {scene.shape}, {size}, {after}")
        forms.append(f"a {size}, {colour} {scene.shape} {after}" if colour else f"a {size} {scene.shape} {after}")
    if where:
        forms.append(f"{where} a {size} {colour} {scene.shape} {how}")
    return " ".join(rng.choice(forms).replace(" ,", ",").split()).rstrip(",")


def canonical(text: str) -> str:
    """The text with the world's own words for sizes, places and motions: "tiny, rising" → "small, moving up"."""
    words = {word: size for size, ways in SIZE_WORDS.items() for word in ways}
    words |= {word: row for row, ways in ROW_WORDS.items() for word in ways}
    words |= {"middle": "center", "centre": "center", "color": "colour"}
    words |= {way: movement(motion) or "still" for motion, ways in MOTION_WAYS.items() for way in ways}
    longest_first = sorted(words, key=len, reverse=True)
    either = re.compile(rf"\b({'|'.join(longest_first)})\b", re.IGNORECASE)
    return either.sub(lambda match: words[match[0].lower()], text)


def value_phrase(attribute: str, value: str, rng: random.Random) -> str:
    """A new attribute value as it stands in an edit: "blue", "star", "big", "to the top left", "move up"."""
    if attribute == "size":
        return rng.choice(SIZE_WORDS[value])
    if attribute == "motion":
        return rng.choice(MOVE_WAYS[value])
    if attribute == "position":
        said = place(value, rng)
        return rng.choice((said, "to" + said[2:])) if said[:2] in ("at", "in", "on") else said
    return value


def stated_value(attribute: str, value: str, rng: random.Random) -> str:
    """An attribute value as it stands after "is": "blue", "star", "big", "at the top left", "moving up"."""
    if attribute == "size":
        return rng.choice(SIZE_WORDS[value])
    if attribute == "position":
        return place(value, rng)
    return rng.choice(MOTION_WAYS[value][:3]) if attribute == "motion" else value


def templates(family: str, split: Split) -> tuple[str, ...]:
    """All templates of a family in a split."""
    lists = TRAIN if split == "train" else HELD_OUT
    return tuple(template for part in FAMILIES[family] for template in lists[part])


def request(part: str, split: Split, rng: random.Random, **slots: str) -> str:
    """A request from one of the lists above, its slots filled; training requests also vary in manner."""
    said = _template(part, split, rng).format(**slots)
    said = said[0].upper() + said[1:]
    return said if split == "held_out" else vary_manner(said, rng)


def _template(part: str, split: Split, rng: random.Random) -> str:
    if split == "held_out":
        return rng.choice(HELD_OUT[part])
    if part in COMPOSITIONS and rng.random() < COMPOSED_SHARE:
        while (composed := compose(COMPOSITIONS[part], rng)) and bare_wording(composed) in _held_out_wordings():
            pass
        return composed
    return rng.choice(TRAIN[part])


def wording(template: str) -> str:
    """A template in lower case and without punctuation; slots look alike."""
    words = re.sub(r"\{\w+\}", " slot ", template.lower())
    return " ".join(re.sub(f"[{re.escape(string.punctuation)}]", " ", words).split())


def bare_wording(template: str) -> str:
    """A template's wording without courtesies at its beginning and end."""
    said = wording(template)
    for opener in (o.lower().rstrip(",.") for o in OPENERS):
        said = said.removeprefix(f"{opener} ")
    for closer in CLOSERS:
        said = said.removesuffix(f" {closer}")
    return said


@functools.cache
def _held_out_wordings() -> frozenset[str]:
    return frozenset(bare_wording(template) for templates in HELD_OUT.values() for template in templates)


def vary_manner(said: str, rng: random.Random) -> str:
    """Courtesies, case and punctuation as people vary them."""
    if rng.random() < 0.25:
        said = f"{rng.choice(OPENERS)} {said[0].lower()}{said[1:]}"
    if rng.random() < 0.15:
        said = f"{said.rstrip('.?!')} {rng.choice(CLOSERS)}{'?' if said.endswith('?') else '.'}"
    if rng.random() < 0.15:
        said = said.rstrip(".?!")
    if rng.random() < 0.2:
        said = said.lower()
    elif rng.random() < 0.03:
        said = said.upper()
    return said
