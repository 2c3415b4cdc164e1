"""The Python interface: load a stack, chat with it, save its adapters."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anygpt.config.loading import load_stack_config
from anygpt.config.schema import StackConfig
from anygpt.errors import RequestError, StageError
from anygpt.events import Event
from anygpt.messages import Message, Part
from anygpt.options import ReplyOptions, request_options, several
from pipelines.any_to_any import AnyToAny, Request
from pipelines.executors import start_executor
from pipelines.executors.contract import Executor
from pipelines.replies import Reply, ReplyBuilder

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AnyGPT:
    """An any-to-any assistant. Close it, or use it as a context manager, to stop its threads."""

    def __init__(self, config: StackConfig, executor: Executor) -> None:
        self.config = config
        self.executor = executor
        self.pipeline = AnyToAny(executor, config.limits)
        self._running: dict[Future[None], Sequence[Request]] = {}
        self._closing = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="anygpt-pipeline", daemon=True)
        self._thread.start()

    @classmethod
    def from_config(
        cls,
        config: str | os.PathLike[str] | StackConfig = "tiny",
        overrides: Sequence[str] = (),
        *,
        executor: str = "local",
        address: str | None = None,
        deploy: str | None = None,
        allow_outside: bool = False,
        trust_remote_code: bool = False,
    ) -> AnyGPT:
        """Load a stack.

        Args:
            config: a shipped name ("tiny"), a YAML file, or a config object.
            overrides: `key.path=value` strings, for names and files.
            executor: "local" runs all stages in this process, "ray" each in one of its own.
            address: of a running Ray cluster, or "auto"; None starts one that ends with the assistant.
            deploy: a shipped deployment ("separate") or YAML file whose `placement` is put over the config's.
            allow_outside: a bundle's config may name files, folders and hosts outside the bundle. Without it only hub
                names and `embedded:…` are taken from it: a bundle may come from somebody else.
            trust_remote_code: checkpoints may run Python code that they bring. No config can say so.
        Raises:
            ConfigError, CheckpointError: if it cannot be built.
            StageError: if a stage cannot be started on Ray.
        """
        if isinstance(config, StackConfig):
            loaded = replace(config, trust_remote_code=trust_remote_code or config.trust_remote_code)
        else:
            loaded = load_stack_config(
                config, overrides, deploy, allow_outside=allow_outside, trust_remote_code=trust_remote_code
            )
        return cls(loaded, start_executor(loaded, executor, address))

    @classmethod
    def from_pretrained(
        cls,
        bundle: str | os.PathLike[str],
        overrides: Sequence[str] = (),
        *,
        executor: str = "local",
        address: str | None = None,
        deploy: str | None = None,
        allow_outside: bool = False,
        trust_remote_code: bool = False,
    ) -> AnyGPT:
        """Load the stack that an adapter bundle was trained for, with those adapters.

        Args:
            bundle: its folder, a hub name or `embedded:…`.
            overrides: `key.path=value` strings; they may name anything.
            executor, address, deploy, allow_outside, trust_remote_code: as for `from_config`.
        Raises:
            ConfigError, CheckpointError: if the bundle is missing, damaged or does not fit.
        """
        from pipelines.stack.bundle import bundle_folder

        folder = bundle_folder(os.fspath(bundle))
        config = load_stack_config(
            folder, overrides, deploy, allow_outside=allow_outside, trust_remote_code=trust_remote_code
        )
        return cls.from_config(replace(config, adapters=str(folder)), executor=executor, address=address)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the adapters and the config as a bundle.

        Raises:
            RequestError: if the stages run elsewhere.
            CheckpointError: if the folder cannot be written.
        """
        self.executor.save_adapters(Path(folder))

    def chat(
        self,
        message: Part | Sequence[Part],
        *,
        history: Sequence[Message] = (),
        system: str | None = None,
        **options: Unpack[ReplyOptions],
    ) -> Reply:
        """Answer one message.

        Args:
            message: text, a medium, or a list of both in order.
            history: an earlier reply's `conversation`.
            system: a system prompt, for a conversation that begins here.
            options: seed (drawn anew where it is None or not given; see `Reply.seed`), modalities, max_tokens,
                temperature, top_p, top_k, stop, steps, guidance, width_px, height_px, frames, duration_s.
        Raises:
            RequestError: if the request cannot be answered.
            StageError: if encoding or the language model fails; lost media are in `Reply.errors`.
        """
        return self.chat_batch([message], histories=[history], system=system, **options)[0]

    def chat_batch(
        self,
        messages: Sequence[Part | Sequence[Part]],
        *,
        histories: Sequence[Sequence[Message]] | None = None,
        seeds: Sequence[int] | None = None,
        system: str | None = None,
        **options: Unpack[ReplyOptions],
    ) -> list[Reply]:
        """Answer several messages side by side; arguments as in `chat`, with a seed for each if given.

        Raises:
            RequestError, StageError: as `chat`, if any of them cannot be answered.
        """
        for name, given in (("histories", histories), ("seeds", seeds)):
            if given is not None and len(given) != len(messages):
                raise RequestError(f"{name}: {len(given)} given for {len(messages)} messages, expected one for each")
        requests = []
        for at, message in enumerate(messages):
            own: ReplyOptions = {**options, "seed": seeds[at]} if seeds else options
            history = histories[at] if histories else ()
            requests.append(make_request(message, history=history, system=system, **own))
        replies = [ReplyBuilder() for _ in requests]
        with closing(self.run(requests)) as events:
            for event in events:
                replies[event.request].take(event)
        return [reply.reply(request) for reply, request in zip(replies, requests, strict=True)]

    def stream(
        self,
        message: Part | Sequence[Part],
        *,
        history: Sequence[Message] = (),
        system: str | None = None,
        **options: Unpack[ReplyOptions],
    ) -> Generator[Event, None, None]:
        """Answer one message as events; arguments as in `chat`. Closing the iterator cancels the reply."""
        return self.run([make_request(message, history=history, system=system, **options)])

    def run(self, requests: Sequence[Request]) -> Generator[Event, None, None]:
        """Answer requests side by side as one stream of events; closing it early cancels the rest.

        Raises:
            StageError: if the assistant is closed.
        """
        events: queue.Queue[Event | BaseException | None] = queue.Queue()

        async def pump() -> None:
            try:
                async for event in self.pipeline.run(requests):
                    events.put(event)
                events.put(None)
            except BaseException as error:
                events.put(error)
                raise

        with self._closing:
            if self._closed:
                raise StageError("pipeline", "the assistant is closed")
            future = asyncio.run_coroutine_threadsafe(pump(), self._loop)
            self._running[future] = requests
        future.add_done_callback(lambda done: self._running.pop(done, None))
        try:
            while (event := events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            for request in requests if not future.done() else ():
                request.cancel.set()

    def close(self) -> None:
        """Cancel what is running and stop all threads; a second time does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        running = dict(self._running)
        for requests in running.values():
            for request in requests:
                request.cancel.set()
        self.executor.close()
        for future in wait(running, timeout=30).not_done:
            future.cancel()
        asyncio.run_coroutine_threadsafe(self._loop.shutdown_default_executor(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> AnyGPT:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def make_request(
    message: Part | Sequence[Part],
    *,
    history: Sequence[Message] = (),
    system: str | None = None,
    **options: Unpack[ReplyOptions],
) -> Request:
    """A request; arguments as in `AnyGPT.chat`.

    Raises:
        RequestError: if a part, the history or an option is impossible.
    """
    for earlier in several("history", history):
        if not isinstance(earlier, Message):
            raise RequestError(f"history: a {type(earlier).__name__} given, expected messages; give reply.conversation")
    if system and any(earlier.role == "system" for earlier in history):
        raise RequestError("system: given, but the history has a system prompt already; leave it out")
    opening = [Message("system", system)] if system else []
    return Request([*opening, *history, Message("user", message)], request_options(**options))
