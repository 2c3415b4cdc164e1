# ruff: noqa: E501 (one template a line would make this file unreadable)
"""How people ask for and about sounds, videos and point clouds, and about what moves; `pipelines.tiny.world.phrases` has the rest.

`{scene}` is a noun phrase, `{value}` an attribute's value, `{one}` and `{other}` are kinds of media ("a picture").
"""

from __future__ import annotations

from pipelines.tiny.world.compositions import CLOSING, OF, SEE, TELL, WHOLE, WISH, WOULD, Composition

TRAIN: dict[str, tuple[str, ...]] = {
    "play": (
        "Play {scene}.", "Play me {scene}.", "Let me hear {scene}.", "Make a sound of {scene}.", "Make the sound of {scene}.",
        "What does {scene} sound like?", "How does {scene} sound?", "I want to hear {scene}.", "Give me the sound of {scene}.",
        "Create an audio clip of {scene}.", "Generate audio of {scene}.", "Sound of {scene}", "A sound of {scene}, please.",
        "Can you play {scene}?", "Could you play {scene} for me?", "Would you play {scene}?", "Please play {scene}.",
        "I would like to hear {scene}.", "Produce the sound that {scene} makes.", "Make audio: {scene}.", "Sing {scene}.",
        "Turn {scene} into sound.", "Record {scene}.", "Make a recording of {scene}.", "I'd love to hear {scene}.",
        "Send me an audio of {scene}.", "Make {scene} audible.", "Synthesize {scene}.", "Audio of {scene}, please.",
        "Let {scene} sound.", "Could I hear {scene}?", "Can I listen to {scene}?", "I'd like to listen to {scene}.",
        "Give me a tone for {scene}.", "{scene}, as a sound.", "Play this: {scene}.", "Which sound does {scene} make?",
        "Make some noise like {scene}.", "Do the sound of {scene}.", "I need an audio clip with {scene}.",
    ),
    "play_it": (
        "Play it.", "Play that.", "Now play it.", "Let me hear it.", "What does it sound like?", "How does it sound?",
        "Make a sound of it.", "Turn it into sound.", "I want to hear it.", "Can you play it?", "Could you play that?",
        "Please play it for me.", "Create an audio clip of it.", "Give me the sound of it.", "Make it audible.",
        "Generate audio of that.", "As a sound, please.", "Sound, please.", "Let's hear it.", "Can I hear it?",
        "Play the sound of this.", "Produce audio for it.", "Play it as a sound.", "I'd like to listen to it.",
        "Sing it.", "Convert it to audio.", "Translate it into sound.", "How would it sound?", "Make an audio of this.",
        "Let me listen to that.", "What sound does it make?", "Play it to me.", "Give me an audio version.",
        "Put it into sound.", "Synthesize it.", "Record it as a sound.", "Which sound is that?", "Audio, please.",
        "Do it as a sound.", "Tell me how that sounds.",
    ),
    "film": (
        "Film {scene}.", "Make a video of {scene}.", "Make a video: {scene}.", "Create a clip of {scene}.",
        "Show me a video of {scene}.", "Animate {scene}.", "I want a video of {scene}.", "Give me a short film of {scene}.",
        "Generate a video with {scene}.", "Video of {scene}", "A video of {scene}, please.", "Can you film {scene}?",
        "Could you animate {scene}?", "Would you make a video of {scene}?", "Please film {scene} for me.",
        "I would like to watch {scene}.", "Let me watch {scene}.", "Produce a clip that shows {scene}.",
        "Make a movie of {scene}.", "Make an animation of {scene}.", "A clip of {scene}.", "Shoot a video of {scene}.",
        "Render a video of {scene}.", "I need a video with {scene}.", "Send me a clip of {scene}.", "Record a video of {scene}.",
        "Could I have a video of {scene}?", "Can I get a clip with {scene}?", "Do a short animation of {scene}.",
        "I'd love a video of {scene}.", "Create a moving picture of {scene}.", "Can I watch {scene}?", "Film this: {scene}.",
        "{scene}, as a video.", "Show {scene} in a video.", "Make me a film with {scene}.", "Put {scene} in a video.",
        "How does {scene} look in a video?", "Let me see a clip of {scene}.", "Design an animation with {scene}.",
    ),
    # what moves need not be called a video
    "film_moving": (
        "Show me {scene}.", "Let me see {scene}.", "I want to see {scene}.", "Show {scene}.", "I would like to see {scene}.",
        "Can you show {scene}?", "Can I see {scene}?", "Please show me {scene}.", "How does {scene} look?", "Display {scene}.",
    ),
    "film_it": (
        "Film it.", "Film that.", "Make a video of it.", "Now make a video.", "Animate it.", "Turn it into a video.",
        "Show it as a video.", "I want a video of it.", "Can you film it?", "Could you animate that?", "Let me watch it.",
        "Create a clip of it.", "Give me a video of it.", "Video, please.", "Please film it for me.", "Make a clip of that.",
        "Generate a video of it.", "As a video, please.", "Convert it to a video.", "Make a movie of it.",
        "Make an animation of this.", "Produce a video of that.", "Show me a video of it.", "Put it in a video.",
        "I'd like to watch that.", "Record a video of it.", "Make it a film.", "Give me the video version.",
        "Can I see a video of it?", "Shoot a clip of this.", "Render it as a video.", "Let's see it as a video.",
        "Translate it into a video.", "Can I watch it?", "Film this.", "Do a short film of it.", "Now the video.",
        "Bring it to life as a film.", "Do it as a video.", "How would it look as a film?", "A clip of it, please.",
    ),
    "make_both": (
        "Give me {one} and {other} of {scene}.", "Make {one} and {other} of {scene}.", "I want {one} and {other} of {scene}.",
        "Create {one} and {other}: {scene}.", "Show me {one} and then {other} of {scene}.", "Produce {one} and {other} with {scene}.",
        "{one} and {other} of {scene}, please.", "Can you make {one} and {other} of {scene}?", "I need both {one} and {other} of {scene}.",
        "Could I have {one} and also {other} of {scene}?", "For {scene}, make {one} and {other}.", "Make {one} of {scene}, and {other} too.",
        "Generate {one} of {scene} and {other} as well.", "I'd like {one}, and {other}, of {scene}.", "First {one}, then {other} of {scene}.",
    ),
    "make_both_it": (
        "Give me {one} and {other} of it.", "Make {one} and {other} of it.", "Now {one} and {other} of that.", "Turn it into {one} and {other}.",
        "I want {one} and {other} of it.", "Can you make {one} and {other} of this?", "{one} and {other}, please.", "Show me {one} and then {other} of it.",
        "Make {one}, and {other} as well.", "Create {one} and also {other} of that.", "I need both {one} and {other} of it.",
        "Produce {one} of it, then {other}.", "First {one}, then {other}.", "Could I have {one} and {other} of it?", "Let me have {one} and {other} of this.",
    ),
    "act_both": (
        "{act} and {act_too} {scene}.", "Please {act} and {act_too} {scene}.", "Can you {act} and {act_too} {scene}?", "I want you to {act} and {act_too} {scene}.",
        "Could you {act} and then {act_too} {scene}?", "First {act}, then {act_too} {scene}.", "Would you {act} and also {act_too} {scene}?",
    ),
    "act_both_it": (
        "{act} it and {act_too} it.", "{act} and {act_too} it.", "Now {act} it and {act_too} it.", "Please {act} it and then {act_too} it.", "Can you {act} and {act_too} it?",
        "First {act} it, then {act_too} it.", "{act} this and {act_too} this.", "Could you {act} it and also {act_too} it?", "{act} that and {act_too} it too.",
    ),
    "describe_audio": (
        "What do you hear?", "What is this sound?", "Describe the sound.", "What does it say to you?", "Tell me what you hear.",
        "Describe what you hear.", "What can you hear?", "Listen to this.", "What is playing?", "What is in the audio?",
        "Which thing makes this sound?", "What makes this sound?", "Say what you hear.", "Can you describe the sound?", "Caption this audio.",
        "What's in the recording?", "Describe this audio clip.", "Put this sound into words.", "What am I hearing?", "What was that sound?",
        "Do you hear what it is?", "Please describe the audio.", "Explain the sound.", "Write a caption for the sound.", "What did you hear?",
        "Name what you hear.", "Summarize the audio.", "What is to be heard here?", "Tell me about this sound.", "Which sound is this?",
    ),
    "describe_video": (
        "What happens here?", "What happens in the video?", "Describe the video.", "What do you see in the video?", "What is going on?",
        "Tell me what happens.", "What is in the clip?", "What does the video show?", "Describe the clip.", "Caption this video.",
        "What moves here?", "Say what happens in the clip.", "Can you describe the video?", "Put the video into words.", "What am I watching?",
        "Summarize the video.", "What is shown in the film?", "Write a caption for the video.", "Tell me about this clip.", "Explain what happens.",
        "What can you see in this video?", "Please describe the film.", "What goes on in this video?", "What did you see in the clip?", "Describe what happens.",
        "Tell me what the video is about.", "What's in the video?", "What is happening?", "Which thing is in the video?", "Say what the clip shows.",
    ),
    "describe_points": (
        "What is this object?", "Describe the object.", "What is this thing?", "What has been scanned?", "Describe the point cloud.",
        "Which solid is this?", "What do these points show?", "Tell me what object this is.", "What does the scan show?", "Caption this scan.",
        "What kind of thing is it?", "Say what object it is.", "Can you describe the scan?", "Put the object into words.", "What are these points?",
        "Name the object.", "Describe this 3D model.", "What is the 3D object?", "What was scanned here?", "Tell me about this object.",
        "What solid do you see?", "Please describe the model.", "Which object is in the scan?", "Write a caption for the object.", "Identify the object.",
        "What's this object?", "What is in the point cloud?", "Explain what the points show.", "What do you make of this object?", "What is this in 3D?",
    ),
    "ask_motion": (
        "Which way does it move?", "Does it move?", "Where is it going?", "How does it move?", "In which direction does it move?", "Is it moving?",
        "Tell me its motion.", "What is its motion?", "Is it still or does it move?", "What's the direction?", "The direction?", "Which direction is that?",
        "Where does it go?", "Can you tell me how it moves?", "Say which way it goes.", "I want to know where it moves.", "And what about the motion?",
        "Up, down, left or right?", "Which way is it going?", "Tell me the direction.", "Does it go up or down?", "Is it going anywhere?",
        "How does the thing move?", "How does this move?", "What way does it move?", "In what direction is it moving?", "Which way is it moving?", "Tell me how it is moving.",
        "How is that thing moving?", "Say how it moves.",
    ),
    "edit_motion": (
        "Let it {value}.", "Make it {value}.", "Now let it {value}.", "Now make it {value}.", "It should {value}.", "I want it to {value}.",
        "Could you make it {value}?", "Have it {value}.", "The same, but let it {value}.", "It has to {value}.", "What if it were to {value}?",
        "I would like it to {value}.", "Change it so that it will {value}.", "Instead, let it {value}.", "Please let it {value}.", "It must {value}.",
        "I'd prefer it to {value}.", "Rather let it {value}.", "No, let it {value}.", "Would you let it {value}?", "Tell it to {value}.", "Same thing, but make it {value}.",
    ),
    "edit_smaller": (
        "Shrink it.", "Make it smaller.", "Now smaller.", "Smaller, please.", "Reduce it.", "Reduce its size.", "Can it be smaller?", "I want it smaller.",
        "Make that smaller.", "Scale it down.", "It should be smaller.", "The same, but smaller.", "Shrink this.", "It is too big.", "It's too large.", "Decrease the size.",
    ),
    "edit_larger": (
        "Enlarge it.", "Make it bigger.", "Make it larger.", "Now bigger.", "Bigger, please.", "Larger, please.", "Grow it.", "Let it grow.", "Can it be bigger?",
        "I want it bigger.", "Make that larger.", "Scale it up.", "It should be bigger.", "The same, but larger.", "It is too small.", "Increase the size.",
    ),
    "check_colour": (
        "Is it {value}?", "Is this {value}?", "Is that {value}?", "Is it {value} or not?", "It is {value}, isn't it?", "Is its colour {value}?", "Is the color {value}?",
        "Would you say it is {value}?", "Am I right that it is {value}?", "Does it look {value}?", "Tell me if it is {value}.", "Is the shape {value}?",
    ),
    "check_shape": (
        "Is it a {value}?", "Is this a {value}?", "Is that a {value}?", "Is it a {value} or not?", "It is a {value}, isn't it?", "Is its shape a {value}?", "Do you see a {value}?",
        "Would you say it is a {value}?", "Am I right that it is a {value}?", "Is there a {value}?", "Tell me if it is a {value}.", "Is the thing a {value}?",
    ),
    "check_size": (
        "Is it {value}?", "Is this {value}?", "Is it {value} or not?", "It is {value}, isn't it?", "Is its size {value}?", "Would you say it is {value}?", "Am I right that it is {value}?",
        "Tell me if it is {value}.", "Is the shape {value}?", "Is it a {value} one?",
    ),
    "check_position": (
        "Is it {value}?", "Is this {value}?", "Is it {value} or not?", "Is its place {value}?", "Would you say it is {value}?", "Am I right that it is {value}?", "Tell me if it is {value}.",
        "Is the shape {value}?", "Is it found {value}?", "Do you see it {value}?",
    ),
    "check_motion": (
        "Is it {value}?", "Is this {value}?", "Is it {value} or not?", "It is {value}, isn't it?", "Would you say it is {value}?", "Am I right that it is {value}?", "Tell me if it is {value}.",
        "Is the shape {value}?", "Is the thing {value}?", "Do you think it is {value}?",
    ),
}  # fmt: skip

HELD_OUT: dict[str, tuple[str, ...]] = {
    "play": (
        "Please make me a sound that is {scene}.", "I want you to play {scene}.", "Could you let me hear {scene}?", "Can you make the sound of {scene}?",
        "May I hear {scene}?", "Play for me {scene}.", "I'd like a sound: {scene}.", "Generate the sound of {scene}.", "Let me listen to {scene}.", "Make an audio clip with {scene} in it.",
    ),
    "play_it": (
        "May I hear what that sounds like?", "Now let me hear the sound.", "I would like to hear it.", "Please play this.", "Make the sound of it.", "Can you make that a sound?",
        "Let me hear that.", "Play the thing.", "Create a sound of that, please.", "Now make a sound out of it.",
    ),
    "film": (
        "Please make me a video that shows {scene}.", "I want you to film {scene}.", "Could you show me a video of {scene}?", "Let me have a clip of {scene}.",
        "May I watch {scene}?", "Film for me {scene}.", "A film of {scene}, please.", "Can you create a video with {scene} in it?", "I'd like a video: {scene}.", "Make a clip that has {scene}.",
    ),
    "film_moving": ("Could you show me {scene}?", "May I see {scene}?", "I'd like to see {scene}."),
    "film_it": (
        "Could you film that for me?", "Now show me the video.", "I would like a video of it.", "Please animate this.", "Make a film of it.", "Can you make that a video?",
        "Let me have a video of it.", "Film the thing.", "Create a video of that, please.", "Now make a clip of it.",
    ),
    "make_both": ("What about {one} and {other} of {scene}?", "Let me have {one} and {other} of {scene}.", "Could you create {one} and {other} with {scene}?"),
    "make_both_it": ("What about {one} and {other} of it?", "Could you create {one} and {other} of that?", "Let me see it as {one} and {other}."),
    "act_both": ("Could you {act} and {act_too} {scene}?", "I'd like you to {act} and {act_too} {scene}."),
    "act_both_it": ("Could you {act} it and {act_too} it?", "I'd like you to {act} and {act_too} it.", "Please {act} this and {act_too} it."),
    "describe_audio": (
        "Can you say what you hear?", "What do you hear in this?", "Describe this sound for me.", "Please let me know what you hear.", "What sound do you hear?",
        "Tell me what this sound is.", "What can be heard here?", "Write down what you hear.", "Give me a short description of the sound.", "What is this audio?",
    ),
    "describe_video": (
        "Can you say what happens here?", "What do you see happening?", "Describe this video for me.", "Please let me know what happens.", "What is this video about?",
        "Tell me what the clip shows.", "What can be seen in the video?", "Write down what happens.", "Give me a short description of the video.", "What goes on here?",
    ),
    "describe_points": (
        "Can you say what object this is?", "What object do you see?", "Describe this object for me.", "Please tell me what the object is.", "What is the object here?",
        "Tell me what the scan shows.", "What can be seen in the scan?", "Write down what object it is.", "Give me a short description of the object.", "What is this model?",
    ),
    "ask_motion": ("Which direction does it move in?", "Tell me which way it moves.", "Where does it move?", "How is it moving?"),
    "edit_motion": ("Can you make it {value}?", "I wonder if it could {value}.", "I'd like it to {value}.", "Could it {value}?"),
    "edit_smaller": ("Could you shrink it?", "Make this smaller, please.", "Can you make it smaller?"),
    "edit_larger": ("Could you enlarge it?", "Make this bigger, please.", "Can you make it bigger?"),
    "check_colour": ("Can you tell me if it is {value}?", "Is it really {value}?", "Do you believe it is {value}?"),
    "check_shape": ("Can you tell me if it is a {value}?", "Is it really a {value}?", "Do you think it is a {value}?"),
    "check_size": ("Can you tell me if it is {value}?", "Is it really {value}?"),
    "check_position": ("Can you tell me if it is {value}?", "Is it really {value}?"),
    "check_motion": ("Can you tell me if it is {value}?", "Is it really {value}?"),
}  # fmt: skip

FAMILIES = {
    "play": ("play",),
    "play_it": ("play_it",),
    "film": ("film", "film_moving"),
    "film_it": ("film_it",),
    "make_both": (
        *("make_both", "make_both_it", "act_both", "act_both_it"),
        *("make_three", "make_three_it", "act_three", "act_three_it"),
    ),
    "describe_media": ("describe_audio", "describe_video", "describe_points"),
}

_SOUND = ("a sound", "the sound", "an audio", "an audio clip", "a tone", "some audio", "a recording", "an audio file")
_VIDEO = ("a video", "a clip", "a film", "an animation", "a short video", "a movie", "a video clip", "a moving picture")
_MAKING = ("make", "create", "generate", "produce", "render", "prepare", "do", "record", "synthesize")
_IT = ("it", "that", "this", "the thing", "the same", "what I said")
_OF_IT = ("of it", "of that", "of this", "of the same", "from it")
_HEAR = (
    "Let me hear",
    "I want to hear",
    "I would like to hear",
    "Can I hear",
    "Could I hear",
    "May I listen to",
    "Might I hear",
    "I'd like to listen to",
    "Let us hear",
    "Let us listen to",
    "I need to hear",
)
_WATCH = (
    "Let me watch",
    "I want to watch",
    "I would like to watch",
    "Can I watch",
    "Could I watch",
    "I'd like to watch",
    "Let us watch",
)
_WHAT_HEARD = (
    "what you hear",
    "what this sound is",
    "what is heard",
    "what is playing",
    "the sound",
    "this sound",
    "the audio",
    "what the recording has",
    "this recording",
)
_WHAT_FILMED = (
    "what happens",
    "what happens in the video",
    "what the video shows",
    "the video",
    "this clip",
    "what goes on",
    "what you see in the clip",
    "the film",
    "this video",
)
_WHAT_SCANNED = (
    "what object this is",
    "what the points show",
    "the object",
    "this object",
    "the scan",
    "what was scanned",
    "what thing this is",
    "the point cloud",
    "this model",
)
_CHECK = (
    "Is it",
    "Is this",
    "Is the thing",
    "Is what you see",
    "Would you call it",
    "Is it true that it is",
    "Are you sure that it is",
    "Do you see that it is",
    "Can we say that it is",
    "Would it be correct to say it is",
    *("Is it actually", "Is it truly", "Is it indeed", "Is it in fact", "Is it clearly", "Is it definitely"),
    *("Is it perhaps", "Is it maybe", "Is it by any chance", "Is that really", "Is this one really", "Is it not"),
    *("Do you suppose it is", "Would you believe it is", "Do you feel it is", "Would you agree that it is"),
)
_OR = ("", "", "or not", "or is it something else", "here", "in your eyes")
_LETTING = ("let it", "make it", "have it", "get it to", "allow it to", "tell it to")

COMPOSITIONS: dict[str, tuple[Composition, ...]] = {
    "play": (
        (WOULD, _MAKING, ("", "me"), _SOUND, OF, CLOSING),
        (WOULD, ("play", "sound out", "make audible"), ("", "me"), ("{scene}",), CLOSING),
        (WISH, _SOUND, OF, CLOSING),
        (_HEAR, ("{scene}",), ("", "", "as a sound", "in an audio clip", "please", "now")),
        (_SOUND, OF, CLOSING),
    ),
    "play_it": (
        (WOULD, ("play", "sound out", "synthesize"), ("", "me"), _IT, CLOSING),
        (WOULD, _MAKING, ("", "me"), _SOUND, _OF_IT, CLOSING),
        (WISH, _SOUND, _OF_IT, CLOSING),
        (_HEAR, _IT, CLOSING),
    ),
    "film": (
        (WOULD, _MAKING, ("", "me"), _VIDEO, OF, CLOSING),
        (WOULD, ("film", "animate", "shoot"), ("", "me"), ("{scene}",), CLOSING),
        (WISH, _VIDEO, OF, CLOSING),
        (_WATCH, ("{scene}",), ("", "", "in a video", "as a clip", "please", "now")),
        (SEE, _VIDEO, OF, CLOSING),
        (_VIDEO, OF, CLOSING),
    ),
    "film_it": (
        (WOULD, ("film", "animate", "shoot"), ("", "me"), _IT, CLOSING),
        (WOULD, _MAKING, ("", "me"), _VIDEO, _OF_IT, CLOSING),
        (WISH, _VIDEO, _OF_IT, CLOSING),
        (SEE, _VIDEO, _OF_IT, CLOSING),
        (_WATCH, _IT, CLOSING),
    ),
    "make_both": (
        (WOULD, (*_MAKING, "give", "show"), ("", "me"), ("{one} and {other}", "both {one} and {other}", "{one} and then {other}"), OF, CLOSING),
        (WISH, ("{one} and {other}", "both {one} and {other}"), OF, CLOSING),
    ),
    "make_both_it": (
        (WOULD, (*_MAKING, "give", "show"), ("", "me"), ("{one} and {other}", "both {one} and {other}", "{one} and then {other}"), _OF_IT, CLOSING),
        (WISH, ("{one} and {other}", "both {one} and {other}"), _OF_IT, CLOSING),
    ),
    "act_both_it": ((WOULD, ("{act}",), ("it", "this", "that"), ("and", "and then", "and also"), ("{act_too} it",), CLOSING),),
    "describe_audio": (
        (WOULD, TELL, _WHAT_HEARD, CLOSING),
        (WOULD, ("give me", "write", "write me", "write down", "say", "make"), WHOLE, ("of the sound", "of this audio", "of what you hear", "for the recording"), CLOSING),
        (("What do you", "What can you", "What would you", "What do we"), ("hear", "make out", "notice"), ("", "here", "in it", "in this", "in this sound", "in the audio", "in the recording")),
    ),
    "describe_video": (
        (WOULD, TELL, _WHAT_FILMED, CLOSING),
        (WOULD, ("give me", "write", "write me", "write down", "say", "make"), WHOLE, ("of the video", "of this clip", "of what happens", "for the film"), CLOSING),
        (("What do you", "What can you", "What would you", "What do we"), ("see", "make out", "notice"), ("in the video", "in this clip", "in the film", "going on here", "happen here")),
    ),
    "describe_points": (
        (WOULD, TELL, _WHAT_SCANNED, CLOSING),
        (WOULD, ("give me", "write", "write me", "write down", "say", "make"), WHOLE, ("of the object", "of this object", "of this scan", "for the model"), CLOSING),
        (("What do you", "What can you", "What would you", "What do we"), ("see", "make out", "notice", "find"), ("in the scan", "in these points", "in the point cloud", "in this model")),
    ),
    "ask_motion": ((WOULD, ("tell me", "say", "name", "write", "write down"), ("the motion", "its motion", "the direction", "which way it moves", "where it goes", "if it moves", "how it moves"), CLOSING),),
    **{f"check_{attribute}": ((_CHECK, ("{value}",), _OR),) for attribute in ("colour", "size", "position", "motion")},
    "check_shape": ((_CHECK, ("a {value}",), _OR),),
    "edit_motion": (
        (WOULD, _LETTING, ("{value}",), CLOSING),
        (("I want it to", "I'd rather it would", "I need it to", "It should", "It must", "It may", "It can", "Might it", "May it", "Can it", "Would it", "From now on it should"), ("{value}",), CLOSING),
    ),
}  # fmt: skip
