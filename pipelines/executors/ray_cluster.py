"""A Ray of our own, or one that is joined, and whether it is still there."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress

import psutil
import ray
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

from anygpt.config.schema import StackConfig
from pipelines.executors.cluster_address import CONNECT_S, no_cluster
from pipelines.executors.pulse import Pulse

SILENT_S = 10.0  # a part of Ray that gives no answer for so long counts as dead
REFUSING_S = 1.5  # a GCS that lets nobody in for so long has ended
JOINED_REFUSING_S = 10.0  # that of a joined cluster may be started again by others
CONTROLLER_SILENT_S = 4.0
STORED = bytes(200_000)  # more than Ray would keep in this process


class Cluster:
    """The Ray that this process is connected to; to be made in the main thread, as Ray's processes end with the thread.

    Args:
        config: its placement says for how many stages there must be room.
        address: a running cluster, or "auto"; None starts one.
        folder: for the files of one that is started.
    Raises:
        ConfigError: if there is no such cluster.
    """

    def __init__(self, config: StackConfig, address: str | None, folder: str) -> None:
        self.is_own = address is None
        if address is None:
            _start(config, folder)
        else:
            _join(address)
        self._gcs_address = ray.get_runtime_context().gcs_address
        self._processes = _own_processes() if self.is_own else _raylet_of_this_node()
        self._gcs_port = Pulse("gcs-port", self._connect, every_s=0.5)
        self._gcs = Pulse("gcs", ray.nodes)
        self._store = Pulse("store", lambda: ray.put(STORED) and None)

    def lost(self) -> str | None:
        """What of it has died, if anything has; never waits."""
        for name, process in self._processes.items():
            if not _runs(process):
                return f"its {name} has ended"
        if self._gcs_port.refused_s > (REFUSING_S if self.is_own else JOINED_REFUSING_S):
            return "its GCS has ended"
        if self._gcs.silent_s > SILENT_S:
            return "its GCS does not answer"
        if self._store.silent_s > SILENT_S:
            return "its raylet does not answer"
        return None

    def _connect(self) -> None:
        host, _, port = self._gcs_address.rpartition(":")
        with suppress(TimeoutError):  # it may be busy
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()


def restart_controller() -> None:
    """Kill Serve's controller, which does not answer; Ray starts it again, and it finds the stages as they are."""
    ray.kill(ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE), no_restart=False)


def _start(config: StackConfig, folder: str) -> None:
    placements = [config.placed(stage) for stage in config.stages]
    room = sum(placed.num_cpus * (placed.max_replicas or placed.replicas) for placed in placements)
    # Serve's controller and ours: Ray has them ready.
    processes = 1 + sum(config.placed(stages[0]).replicas for stages in config.processes.values())
    num_cpus = max(os.cpu_count() or 1, int(room) + 1, processes)
    ray.init(
        "local",
        include_dashboard=False,
        num_cpus=num_cpus,
        _temp_dir=folder,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _join(address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise no_cluster(address, error) from error


def _own_processes() -> dict[str, psutil.Process]:
    """What this process has started Ray with, by the name that messages use."""
    names = {"raylet": "raylet", "gcs_server": "GCS"}
    return {names[child.name()]: child for child in psutil.Process().children() if child.name() in names}


def _raylet_of_this_node() -> dict[str, psutil.Process]:
    """In a joined cluster; nothing where its process cannot be seen."""
    node = ray._private.worker._global_node
    assert node is not None, "this process is connected to Ray"
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or []
        if f"--raylet_socket_name={node.raylet_socket_name}" in arguments and "raylet" in os.path.basename(
            arguments[0]
        ):
            return {"raylet": process}
    return {}


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
