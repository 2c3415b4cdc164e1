"""A request with a picture; a reply with text and a picture."""

from pathlib import Path

from anygpt import AnyGPT, load_image

here = Path(__file__).parent

with AnyGPT.from_config("tiny") as model:
    picture = load_image(here / "red_star.png")
    reply = model.chat([picture, "Now make it green."], seed=0)
    answer = model.chat("What colour is it?", history=reply.conversation, modalities=["text"])

Path("replies").mkdir(exist_ok=True)
reply.images[0].save("replies/green_star.png")
print(f"you:    {here / 'red_star.png'}  Now make it green.")
print(f"anygpt: {reply.text}  replies/green_star.png")
print(f"you:    What colour is it?\nanygpt: {answer.text}")
