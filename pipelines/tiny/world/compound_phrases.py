# ruff: noqa: E501 (one template a line would make this file unreadable)
"""How people ask for several things at once, compare, correct what they have got, and take their leave.

`{one}`, `{other}` and `{third}` are kinds of media in the lists that make, attributes where two are asked for, and
values where two are changed; `{name}` is an attribute.
"""

from __future__ import annotations

TRAIN: dict[str, tuple[str, ...]] = {
    "make_three": (
        "Give me {one}, {other} and {third} of {scene}.", "Make {one}, {other} and {third} of {scene}.", "I want {one}, {other} and {third} of {scene}.", "{one}, {other} and {third} of {scene}, please.",
        "Can you make {one}, {other} and {third} of {scene}?", "Show me {one}, then {other}, then {third} of {scene}.", "For {scene}, make {one}, {other} and {third}.", "Create {one}, {other} and {third}: {scene}.",
    ),
    "make_three_it": (
        "Give me {one}, {other} and {third} of it.", "Make {one}, {other} and {third} of it.", "Now {one}, {other} and {third} of that.", "Turn it into {one}, {other} and {third}.",
        "{one}, {other} and {third}, please.", "First {one}, then {other}, then {third}.", "Can you make {one}, {other} and {third} of this?", "I need {one}, {other} and {third} of it.",
    ),
    "act_three": (
        "{act}, {act_too} and {act_third} {scene}.", "Please {act}, {act_too} and {act_third} {scene}.", "Can you {act}, {act_too} and {act_third} {scene}?", "First {act}, then {act_too}, then {act_third} {scene}.",
        "I want you to {act}, {act_too} and {act_third} {scene}.",
    ),
    "act_three_it": (
        "{act} it, {act_too} it and {act_third} it.", "{act}, {act_too} and {act_third} it.", "Please {act} it, {act_too} it and {act_third} it.", "Can you {act}, {act_too} and {act_third} it?",
        "Now {act} it, {act_too} it and {act_third} it.", "First {act} it, then {act_too} it, then {act_third} it.", "{act} that, {act_too} that and {act_third} that.",
    ),
    "describe_two": (
        "What are these?", "What are these two?", "Describe both.", "Describe both of them.", "Describe the two.", "What do you see in each?", "What is in the first and what in the second?",
        "Tell me what both are.", "Describe each of them.", "What do these two show?", "Caption both.", "Which things are these?", "Say what each one is.", "What have we here, one and two?",
        "Describe the first and the second.", "Put both into words.", "Name both things.", "What are both of these?", "Describe both pictures.", "Describe both media.", "Tell me about both.",
    ),
    "compare_size": (
        "Which one is bigger?", "Which is larger?", "Which of them is bigger?", "Which one is smaller?", "Which is the big one?", "Are they the same size?", "Do they have the same size?", "Is the size the same?",
        "Same size?", "Compare the sizes.", "Are both equally big?", "Is one bigger than the other?", "Is the first bigger than the second?", "Is the second larger?", "Do the sizes match?",
        "Tell me which one is larger.", "Which of the two is smaller?", "Are these equally large?",
    ),
    "compare_position": (
        "Are they at the same place?", "Are both at the same position?", "Is the position the same?", "Do they sit at the same spot?", "Compare the positions.", "Same place?", "Do the places match?",
        "Where is each of them?", "Are these two in the same place?", "Is it in the same position in both?", "Tell me if their positions are the same.",
    ),
    "compare_motion": (
        "Do they move the same way?", "Are they moving in the same direction?", "Do both move alike?", "Is the motion the same?", "Is the direction the same?", "Compare the motions.", "Same direction?",
        "Do the directions match?", "Which way does each of them move?", "Does the second move like the first?", "Do both go the same way?", "Tell me if they move the same way.", "Are the motions equal?",
    ),
    "compare_before": (
        "Is the {name} the same as before?", "Is it the same {name} as before?", "Has the {name} changed?", "Did the {name} change?", "Is the {name} still the same?", "Does it have the same {name} as before?",
        "Same {name} as before?", "Is this the same {name} as the last one?", "Is its {name} like before?", "Compare the {name} with the one before.", "How did the {name} change?",
        "And is the {name} the same?", "Does it still have the same {name}?", "Is the {name} different now?", "What was the {name} before, and what is it now?",
    ),
    "ask_two": (
        "What {one} and {other} is it?", "What {one} and what {other} is it?", "Tell me its {one} and {other}.", "What are its {one} and {other}?", "Tell me the {one} and the {other}.", "Which {one} and which {other} does it have?",
        "The {one} and the {other}?", "Name the {one} and the {other}.", "I want to know the {one} and the {other}.", "Say its {one} and its {other}.", "What is the {one}, and what is the {other}?",
    ),
    "ask_loudness": (
        "Is it loud?", "Is it quiet?", "Is it loud or quiet?", "How loud is it?", "What is its volume?", "Is the sound loud or soft?", "Tell me how loud it is.", "Is this a loud sound?", "The volume?", "How loud is this sound?",
    ),
    "ask_solid": (
        "Which solid is it?", "What solid is this?", "Is it a sphere, a cube or a cone?", "Is it a sphere or a cube?", "Which kind of solid do you see?", "Tell me the solid.", "What 3D shape is it?", "Name the solid.",
    ),
    "edit_two": (
        "Make it {one} and {other}.", "Now make it {one} and {other}.", "I want it {one} and {other}.", "The same, but {one} and {other}.", "It should be {one} and {other}.", "Let it be {one} and {other}.",
        "Could you make it {one} and {other}?", "Make it both {one} and {other}.", "Change it: {one} and {other}.", "Make it {one}, and {other} too.", "I'd prefer it {one} and {other}.",
    ),
    "edit_thing": (
        "Turn it into a {value}.", "Make it a {value}.", "Now make it a {value}.", "Replace it with a {value}.", "I want a {value} instead.", "The same, but with a {value}.", "Change it into a {value}.", "Let it be a {value}.",
        "Could you make it a {value}?", "It should be a {value}.", "Swap it for a {value}.",
    ),
    "edit_and_make": (
        "Make it {value} and {act} it.", "Make it {value}, then {act} it.", "Now make it {value} and {act} it.", "Turn it {value} and {act} it.", "Make it {value} and then {act} it.", "Change it to {value} and {act} it.",
        "I want it {value}, and {act} it.", "Let it be {value} and {act} it.", "First make it {value}, then {act} it.", "{act} it, but make it {value}.", "{act} it, but {value}.", "Could you make it {value} and {act} it?",
    ),
    "edit_louder": (
        "Louder, please.", "Make it louder.", "Louder.", "Turn it up.", "Can it be louder?", "I want it louder.", "Raise the volume.", "It is too quiet.", "More volume.", "It should be louder.", "Play it louder.",
    ),
    "edit_quieter": (
        "Quieter, please.", "Make it quieter.", "Softer, please.", "Turn it down.", "Can it be quieter?", "I want it softer.", "Lower the volume.", "It is too loud.", "Less volume.", "It should be quieter.", "Play it more quietly.",
    ),
    "edit_stop": (
        "Stop it.", "Freeze it.", "Now stop.", "Hold it still.", "Make it freeze.", "Let it halt.", "Stop the motion.", "No motion, please.", "Without any motion.", "Keep it still.",
    ),
    "edit_reverse": (
        "Reverse it.", "Reverse the direction.", "The other way, please.", "Now the other way.", "Let it go the other way.", "Turn it around.", "In the opposite direction.", "Backwards.", "Make it go back.", "Let it move the other way round.",
    ),
    "edit_way": (
        "Now {value}.", "Now {value}, please.", "{value}, please.", "And {value}.", "The same, but {value}.", "No, {value}.", "Rather {value}.", "{value} instead.", "This time {value}.", "Let me have it {value}.",
    ),
    "undo": (
        "Undo that.", "Undo.", "Go back.", "Back, please.", "As it was before.", "I liked it better before.", "Take that back.", "Revert it.", "Give me the one before.", "Restore it.", "Undo the change.", "No, back to what it was.",
    ),
    "thank": (
        "Thanks!", "Thank you!", "Thanks a lot.", "Great!", "Perfect.", "Very nice.", "Well done.", "Wonderful!", "Good job.", "That's it, thanks.", "Cool", "Nice!", "Thank you very much.", "Beautiful.", "I like it.", "Awesome!",
    ),
}  # fmt: skip

HELD_OUT: dict[str, tuple[str, ...]] = {
    "make_three": ("Let me have {one}, {other} and {third} of {scene}.", "Could you create {one}, {other} and {third} with {scene}?"),
    "make_three_it": ("Let me have {one}, {other} and {third} of it.", "Could you create {one}, {other} and {third} of that?"),
    "act_three": ("Could you {act}, {act_too} and {act_third} {scene}?", "I'd like you to {act}, {act_too} and {act_third} {scene}."),
    "act_three_it": ("Could you {act} it, {act_too} it and {act_third} it?", "I'd like you to {act}, {act_too} and {act_third} it."),
    "describe_two": ("Tell me what these two are.", "Can you describe both?", "What do both of them show?"),
    "compare_size": ("Which of these is bigger?", "Do these have the same size?", "Tell me if they are the same size."),
    "compare_position": ("Do these have the same position?", "Tell me if they are at the same place."),
    "compare_motion": ("Do these move in the same direction?", "Tell me if both move the same way."),
    "compare_before": ("Tell me if the {name} is the same as before.", "Does this have the same {name} as the one before?"),
    "ask_two": ("Can you tell me its {one} and its {other}?", "Which {one} and {other} is it?"),
    "ask_loudness": ("Tell me if it is loud or quiet.", "How loud does it sound?"),
    "ask_solid": ("Can you name the solid?", "Is it a cube or a cone?"),
    "edit_two": ("Can you make it {one} and {other}?", "I'd rather have it {one} and {other}."),
    "edit_thing": ("Please turn this into a {value}.", "I'd rather have a {value}."),
    "edit_and_make": ("Can you make it {value} and {act} it?", "Make this {value} and {act} it."),
    "edit_louder": ("Could you make it louder?", "Make this louder, please."),
    "edit_quieter": ("Could you make it quieter?", "Make this quieter, please."),
    "edit_stop": ("Could you stop it?", "Make it hold still."),
    "edit_reverse": ("Could it go the other way?", "Change the direction."),
    "edit_way": ("Can you make that {value}?", "I'd like it {value} now."),
    "undo": ("Can you undo that?", "Put it back as it was."),
    "thank": ("Many thanks!", "That looks great."),
}  # fmt: skip
