"""A decoding process: reads jobs from its standard input, writes media to its standard output, until the input ends.

    python -m pipelines.media_decoding.worker

A job is a header {"modality", "limits", "deadline_s", "source": "text" or "bytes", "fetched_for": a name if the source
is an address to fetch} and the source as the one payload. An answer is {"medium": …} with the medium's payloads, or
{"error": class, "message": …}.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import Any, BinaryIO

from anygpt.errors import AnyGPTError, MediaError
from anygpt.media.kinds import KINDS
from anygpt.media.limits import limits_of_config
from anygpt.media.sources import one_line
from pipelines.media_decoding.fetching import fetch
from pipelines.media_decoding.frames import medium_frame, read_frame, write_frame

NICENESS = 10  # answers under way go first
MAX_ADDRESS_SPACE_BYTES = 6 * 1024**3


def main() -> None:
    """Work until the parent closes the standard input, or is gone."""
    jobs, answers = _private_pipes()
    _restrain()
    with suppress(EOFError, OSError, ValueError):
        while True:
            header, (payload,) = read_frame(jobs)
            _set_alarm(header["deadline_s"])
            answer = _answer(header, payload)
            _set_alarm(0)
            write_frame(answers, *answer)
            del answer
            gc.collect()  # what decoders leave behind refers to itself


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the parent; what libraries print goes nowhere."""
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return jobs, answers


def _restrain() -> None:
    """Bounded memory, low priority; the terminal's Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        return
    import resource

    os.nice(NICENESS)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE_BYTES, MAX_ADDRESS_SPACE_BYTES))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _set_alarm(seconds: float) -> None:
    """End this process after some seconds, in case the parent dies meanwhile; 0 stops the clock."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(header: dict[str, Any], payload: bytearray) -> tuple[dict[str, Any], list[Any]]:
    modality = header["modality"]
    kind = KINDS[modality]
    try:
        limits = kind.limits(**header["limits"])
        source: Any = bytes(payload) if header["source"] == "bytes" else payload.decode("utf-8", "surrogatepass")
        if header["fetched_for"] is not None:
            source = fetch(source, header["fetched_for"], limits.max_bytes)
        with limits_of_config(modality):
            medium, payloads = medium_frame(kind.load(source, limits))
    except AnyGPTError as error:
        return {"error": type(error).__name__, "message": str(error)}, []
    except MemoryError:
        message = f"{modality}: takes more memory than one file may; shrink it"
        return {"error": MediaError.__name__, "message": message}, []
    except Exception as error:  # libraries raise errors of many kinds on hostile files
        message = f"{modality}: cannot be read ({type(error).__name__}: {one_line(str(error))}); save it again"
        return {"error": MediaError.__name__, "message": message}, []
    return {"medium": medium}, payloads


if __name__ == "__main__":
    main()
