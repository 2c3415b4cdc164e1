"""Two nodes in one machine, with GPUs that are only counted: prints where each stage of a stack's file went.

At the end the cluster is killed while the assistant is still there: prints what a request is told, and the executor.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

import ray
from ray.cluster_utils import Cluster

from anygpt import AnyGPT, load_stack_config
from anygpt.config.schema import StagePlacement
from anygpt.errors import StageError
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene

PLACEMENT = {
    "encoders.image": StagePlacement(dtype="float64", num_gpus=0.75, resources={"small": 1}),
    "backbone": StagePlacement(dtype="float64", num_cpus=1, num_gpus=0.5, resources={"big": 1}),
    "generators.image": StagePlacement(num_gpus=0.5),
    **dict.fromkeys(
        ("encoders.audio", "encoders.video", "encoders.points"), StagePlacement(num_cpus=0.25, process="senses")
    ),
    **dict.fromkeys(("generators.audio", "generators.video"), StagePlacement(num_cpus=0.25, process="voices")),
}


def what_is_lost(model: AnyGPT) -> list[str]:
    deadline = time.monotonic() + 20
    while model.executor.failure is None and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        model.chat("Hello")
    except StageError as error:
        return [str(error), str(model.executor.failure)]
    return ["it was answered"]


def main() -> None:
    cluster = Cluster()
    # The small node comes first and has a quarter of its GPU left, so the generator must go to the big one.
    small = cluster.add_node(num_cpus=2, num_gpus=1, resources={"small": 1})
    big = cluster.add_node(num_cpus=3, num_gpus=1, resources={"big": 1})
    names = {small.node_id: "small", big.node_id: "big"}
    config = load_stack_config(sys.argv[1])
    config.placement = PLACEMENT
    try:
        with AnyGPT.from_config(config, executor="ray", address=cluster.address) as model:
            places = asyncio.run(model.executor.places())  # type: ignore[attr-defined]
            cloud = render(Scene("star", "red").in_modality("points"), "points")
            reply = model.chat([cloud, "Hello"], modalities=["audio"])
            assert not reply.errors, reply.errors
            cluster.remove_node(small, allow_graceful=False)  # the head: its raylet and the GCS
            lost = what_is_lost(model)
        found = {s: {**p, "node": names[p["node"]]} for s, p in places.items()}
        print(json.dumps({**found, "samples": len(reply.parts[0].waveform), "lost": lost}))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    logging.disable(logging.INFO)
    main()
