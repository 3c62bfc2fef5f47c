# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch on a local Ray cluster of two nodes, one of which is killed in mid-run."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from diffposetalk.batch import ray_cluster
from diffposetalk.batch.manifest import Job
from diffposetalk.batch.ray_cluster import (
    ClusterError,
    Work,
    connected,
    prepare_environment,
    speak_on_cluster,
)
from diffposetalk.batch.speaking import Outcome
from diffposetalk.errors import DiffPoseTalkError
from diffposetalk.generation.options import GenerationOptions
from diffposetalk.motion.clip import load_motion

OBJECT_STORE = 80 * 2**20  # bytes a node; Ray's default is a third of the machine's memory


def test_without_ray_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DiffPoseTalkError) as caught, connected("local"):
        pass
    assert caught.value.kind == "extra_missing" and "pip install" in caught.value.message


def test_nothing_is_reported_and_tokens_are_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        environment: dict[str, str] = {}
        context.setattr(ray_cluster.os, "environ", environment)
        prepare_environment(local=False)
        assert environment["RAY_USAGE_STATS_ENABLED"] == "0" and "RAY_AUTH_MODE" not in environment
        prepare_environment(local=True)
        assert environment["RAY_AUTH_MODE"] == "token" and len(environment["RAY_AUTH_TOKEN"]) == 64
        environment.update(RAY_USAGE_STATS_ENABLED="1", RAY_AUTH_MODE="disabled")
        prepare_environment(local=True)  # what the user has set stays
        assert environment["RAY_USAGE_STATS_ENABLED"] == "1" and environment["RAY_AUTH_MODE"] == "disabled"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each on this machine; this process is connected to the first."""
    before = dict(os.environ)
    prepare_environment(local=True)
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": OBJECT_STORE},
    )
    try:
        made.second = made.add_node(num_cpus=1, object_store_memory=OBJECT_STORE)
        ray.init(address=made.address, log_to_driver=False)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
def test_no_port_is_open_to_others(cluster: Any) -> None:
    import psutil

    children = psutil.Process().children(recursive=True)
    listening = [
        connection.laddr.ip
        for process in [psutil.Process(), *children]
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening and all(ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for ip in listening)


def test_a_node_killed_in_mid_run_loses_nothing(cluster: Any, tiny_model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(16_000 * 8), 16_000)
    jobs = [Job(n, str(tmp_path / f"{n % 4}.wav"), f"clip{n}", (n,)) for n in range(32)]
    jobs.append(Job(32, str(tmp_path / "none.wav"), "none"))
    out = tmp_path / "out"
    out.mkdir()
    work = Work(str(tiny_model), str(out), GenerationOptions(sampler="ddpm"), device="cpu", rows=2)
    told: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        told.append(outcome)
        if cluster.second is not None:
            cluster.remove_node(cluster.second, allow_graceful=False)
            cluster.second = None

    facts = speak_on_cluster(work, jobs, report)
    assert facts["workers"] == 2 and facts["nodes"] == 1
    assert sorted(outcome.row for outcome in told) == list(range(33))
    assert [outcome.row for outcome in told if outcome.status == "failed"] == [32]
    assert next(o for o in told if o.row == 32).kind == "audio_missing"
    for n in range(32):
        clip = load_motion(out / f"clip{n}.npz")
        assert len(clip) == 200 and clip.provenance["seed"] == n
    assert not list(out.glob(".part-*"))

    told.clear()  # again: nothing is left to do
    speak_on_cluster(work, jobs[:8], report)
    assert {outcome.status for outcome in told} == {"skipped"} and len(told) == 8


def test_a_cluster_that_is_not_there() -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterError) as caught, connected(address):
            pass
    assert address in caught.value.message
