"""The command that talks to a model. It imports what it needs when it runs."""

import sys
from typing import Annotated

import typer

from flows.cli.common import Json, app, fail, model_folder, show_result
from flows.cli.printing import out


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="An instruct artifact, or a model folder.")] = "instruct",
    message: Annotated[list[str] | None, typer.Option(help="Say this and end; may be given often, in turn.")] = None,
    system: Annotated[str | None, typer.Option(help="Said before everything else.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 200,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=1, help="Draw from so many of the likeliest tokens.")] = 50,
    top_p: Annotated[float | None, typer.Option(help="Of these, from the likeliest whose mass reaches this.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other answers.")] = 0,
    as_json: Json = False,
) -> None:
    """Talk to a model that was taught to answer: on a terminal line by line, or with --message."""
    from flows.commands.chat import Chat, talk

    if not message and not sys.stdin.isatty():
        fail("there is no terminal to talk on: say something with --message TEXT")
    if not message and as_json:
        fail("--json prints one document: say something with --message TEXT")
    chat = Chat(model_folder(model), system, tokens, seed, temperature=temperature, top_k=top_k, top_p=top_p)
    if not message:
        out.print("An empty line ends the conversation.", style="dim")
        talk(chat, lambda: input("> "), lambda answer: out.print(answer, markup=False))
        return
    answers = [chat.say(text) for text in message]
    found = {"messages": chat.messages, "answers": answers}
    show_result(found, as_json, lambda data: out.print("\n".join(data["answers"]), markup=False))
