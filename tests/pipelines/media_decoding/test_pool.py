"""Decoding processes: the same media as in this process, ended at a deadline or when nobody waits."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from anygpt.errors import MediaError, OverloadedError
from anygpt.media import Audio, ImageLimits, PointCloud, Video, VideoLimits
from anygpt.media.kinds import KINDS
from pipelines.media_decoding import pool as pool_module
from pipelines.media_decoding.fetching import is_allowed
from pipelines.media_decoding.frames import framed_medium, medium_frame
from pipelines.media_decoding.pool import DecoderPool

RNG = np.random.default_rng(0)
SOUND = Audio(RNG.uniform(-1, 1, 8_000).astype(np.float32), 16_000)
MEDIA: dict[str, Any] = {
    "image": Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8)),
    "audio": SOUND,
    "video": Video(RNG.integers(0, 256, (4, 16, 16, 3), np.uint8), 8.0, SOUND),
    "points": PointCloud(RNG.normal(size=(50, 3)).astype(np.float32), RNG.random((50, 3), np.float32)),
}


def slow_gif(frames: int = 3_000, width_px: int = 2_000, height_px: int = 2_000) -> bytes:
    """A small file that takes long: every frame changes one pixel of a large canvas."""
    frame = b"\x21\xf9\x04\x04\x01\x00\x00\x00\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    head = b"GIF89a" + struct.pack("<HHBBB", width_px, height_px, 0x80, 0, 0) + b"\x00\x00\x00\xff\x00\x00"
    return head + frame * frames + b";"


WIDE_LIMITS = VideoLimits(max_total_pixels=10**15)  # so that the deadline is what ends it


def run(work: Callable[[DecoderPool], Any], timeout_s: float = 20.0) -> Any:
    """The result of a coroutine over a pool, which is closed then."""

    async def inside() -> Any:
        pool = DecoderPool(timeout_s)
        try:
            return await work(pool)
        finally:
            pool.close()

    return asyncio.run(inside())


@pytest.fixture
def decoders() -> Callable[[], list[psutil.Process]]:
    """Gives the decoding processes that a test has started."""

    def running() -> list[psutil.Process]:
        children = psutil.Process().children()
        return [child for child in children if pool_module.WORKER in " ".join(child.cmdline()) and child not in before]

    before: list[psutil.Process] = []
    before = running()
    return running


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Image.Image):
        return one.mode == other.mode and one.tobytes() == other.tobytes()
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (Audio, Video, PointCloud)):
        return all(same(value, getattr(other, name)) for name, value in vars(one).items())
    return one == other


@pytest.mark.parametrize("modality", MEDIA)
def test_media_are_those_that_this_process_decodes(modality, tmp_path):
    kind = KINDS[modality]
    file = kind.encode(MEDIA[modality])
    expected, path = kind.load(file), tmp_path / f"file{kind.suffix}"
    path.write_bytes(file)
    sources: list[Any] = [file, kind.data_url(MEDIA[modality]), path, str(path)]

    async def decode_all(pool: DecoderPool) -> list[Any]:
        return [await pool.decode(modality, source, kind.limits()) for source in sources]

    assert all(same(expected, medium) for medium in run(decode_all))


@pytest.mark.parametrize("modality", MEDIA)
def test_frames_keep_every_value(modality):
    header, payloads = medium_frame(MEDIA[modality])
    assert same(framed_medium(modality, header, [bytearray(payload) for payload in payloads]), MEDIA[modality])


def test_errors_are_those_of_this_process():
    with pytest.raises(MediaError) as here:
        KINDS["image"].load(b"no picture")
    with pytest.raises(MediaError) as there:
        run(lambda pool: pool.decode("image", b"no picture", ImageLimits()))
    assert str(there.value) == str(here.value)


def test_limits_hold_in_the_other_process():
    with pytest.raises(MediaError, match="expected at most 100"):
        run(lambda pool: pool.decode("image", KINDS["image"].encode(MEDIA["image"]), ImageLimits(max_pixels=100)))


def test_slow_file_ends_at_the_deadline_and_its_process_with_it(decoders):
    with pytest.raises(MediaError, match=r"longer than limits\.decode_timeout_s=1 seconds; shorten or shrink it"):
        run(lambda pool: pool.decode("video", slow_gif(), WIDE_LIMITS), timeout_s=1.0)
    assert not decoders()


def test_cancelled_call_ends_its_process_and_the_pool_goes_on(decoders):
    async def work(pool: DecoderPool) -> tuple[int, Any]:
        slow = asyncio.create_task(pool.decode("video", slow_gif(), WIDE_LIMITS))
        await asyncio.sleep(0.5)
        working = decoders()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        left = [process for process in working if process.is_running()]
        return len(left), await pool.decode("audio", KINDS["audio"].encode(SOUND), KINDS["audio"].limits())

    left, sound = run(work)
    assert left == 0
    assert sound.sampling_rate_hz == 16_000


def test_slow_files_of_one_modality_leave_room_for_others():
    async def work(pool: DecoderPool) -> Any:
        slow = [asyncio.create_task(pool.decode("video", slow_gif(), WIDE_LIMITS)) for _ in range(12)]
        await asyncio.sleep(0.5)
        picture = await asyncio.wait_for(pool.decode("image", KINDS["image"].encode(MEDIA["image"]), ImageLimits()), 15)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return picture

    assert same(run(work), MEDIA["image"])


def test_too_many_waiting_files_are_refused(monkeypatch):
    monkeypatch.setattr(pool_module, "MAX_WAITING", 2)

    async def work(pool: DecoderPool) -> None:
        slow = [asyncio.create_task(pool.decode("video", slow_gif(), WIDE_LIMITS)) for _ in range(2)]
        await asyncio.sleep(0.2)
        try:
            with pytest.raises(OverloadedError, match="2 files are waiting to be read; try again later"):
                await pool.decode("image", b"x", ImageLimits())
        finally:
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)

    run(work)


def test_slow_files_of_one_client_leave_room_for_others():
    async def work(pool: DecoderPool) -> Any:
        slow = [asyncio.create_task(pool.decode("video", slow_gif(), WIDE_LIMITS, client="a")) for _ in range(12)]
        await asyncio.sleep(0.5)
        assert len(pool.working) == pool_module.PER_CLIENT
        small = pool.decode("video", slow_gif(2, 8, 8), WIDE_LIMITS, client="b")
        video = await asyncio.wait_for(small, 15)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return video

    assert run(work).frames.shape == (2, 8, 8, 3)


def test_killed_process_costs_its_own_file_alone(decoders):
    async def work(pool: DecoderPool) -> Any:
        slow = asyncio.create_task(pool.decode("video", slow_gif(), WIDE_LIMITS))
        await asyncio.sleep(0.5)
        for process in decoders():
            process.kill()
        with pytest.raises(MediaError, match="the process that reads it has ended"):
            await slow
        return await pool.decode("image", KINDS["image"].encode(MEDIA["image"]), ImageLimits())

    assert same(run(work), MEDIA["image"])


def test_idle_process_ends_with_its_parent():
    """The process reads from a pipe that nobody writes to any more."""
    script = (
        "import asyncio, os\n"
        "from pipelines.media_decoding.pool import DecoderPool\n"
        "async def main():\n"
        "    pool = DecoderPool(5.0)\n"
        "    pool.start()\n"
        "    print(pool._idle[0]._process.pid, flush=True)\n"
        "    await asyncio.sleep(1.5)\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    import subprocess
    import sys

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    process_id = int(ended.stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and psutil.pid_exists(process_id):
        time.sleep(0.05)
    assert not psutil.pid_exists(process_id)


# Files of allowed hosts


@contextmanager
def host(answer: bytes, *, drip_s: float | None = None) -> Iterator[str]:
    """An HTTP server on loopback that sends the same to everyone, at once or byte by byte."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        for at in range(len(answer) if drip_s else 0):
                            connection.sendall(answer[at : at + 1])
                            time.sleep(drip_s or 0)
                        connection.sendall(b"" if drip_s else answer)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/file.png"


def fetched(url: str, timeout_s: float = 20.0) -> Any:
    return run(lambda pool: pool.decode("image", url, ImageLimits(), fetched_for="image_url"), timeout_s)


def test_file_of_a_host_is_decoded():
    file = KINDS["image"].encode(MEDIA["image"])
    with host(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(file) + file) as url:
        assert same(fetched(url), MEDIA["image"])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 1_000 + b"\r\n",
    ],
    ids=["silence", "rubbish", "missing", "elsewhere", "cut", "chunks", "long header", "many headers"],
)
def test_what_a_host_does_wrong_is_told(answer):
    with host(answer) as url, pytest.raises(MediaError, match="image_url: the address cannot be read") as told:
        fetched(url)
    assert "\n" not in str(told.value)


def test_dripping_host_meets_the_deadline():
    started = time.monotonic()
    drip = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000
    with host(drip, drip_s=0.1) as url, pytest.raises(MediaError, match=r"limits\.decode_timeout_s=2 seconds"):
        fetched(url, timeout_s=2.0)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.org/x.png", True),
        ("https://A.ORG/x.png", True),
        ("https://a.org:443/x.png", True),
        ("https://a.org./x.png", True),
        ("https://b.org:8443/x.png", True),
        ("https://b.org/x.png", False),
        ("https://a.org:0/x.png", False),
        ("https://a.org../x.png", False),
        ("https://a.org:8443/x.png", False),
        ("https://a.org:22/x.png", False),
        ("http://a.org/x.png", False),
        ("https://user:pass@a.org/x.png", False),
        ("https://a.org@evil.org/x.png", False),
        ("https://evil.org/a.org", False),
        ("https://a.org:99999/x.png", False),
        ("https://a.org:x/x.png", False),
        ("https://[a.org/x.png", False),
        ("//a.org/x.png", False),
        ("ftp://a.org/x.png", False),
        ("", False),
    ],
)
def test_hosts_and_ports_are_allowed_by_name(url, allowed):
    assert is_allowed(url, ["a.org", "b.org:8443"]) == allowed


def test_decoding_processes_are_of_low_priority(decoders):
    async def work(pool: DecoderPool) -> list[int]:
        await pool.decode("image", KINDS["image"].encode(MEDIA["image"]), ImageLimits())
        return [process.nice() for process in decoders()]

    (nice,) = run(work)
    assert nice == min(19, os.nice(0) + 10)


def test_paths_of_odd_names_reach_the_process(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff odd.png"))
    path.write_bytes(KINDS["image"].encode(MEDIA["image"]))
    assert same(run(lambda pool: pool.decode("image", path, ImageLimits())), MEDIA["image"])
