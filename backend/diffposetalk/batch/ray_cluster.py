# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch on a Ray cluster: Ray Data over the jobs, one model a worker, each worker writing its own clips.

Ray Data hands blocks of jobs to a pool of actors, each with the model loaded once, on a GPU of its own where the
cluster has any. A worker goes through its block as one machine goes through a batch (`speaking`), straight into the
output folder, which all nodes must see under the same path. Blocks of a worker or node that is lost are given to
others, which find the clips that were finished and go on from there. Nothing but outcomes travels back.

An optional dependency: `pip install "diffposetalk[ray]"`. Ray sends no usage statistics from here, and a cluster that
is started here listens on the loopback interface alone, under a token of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DiffPoseTalkError, refusing
from ..generation.arguments import chosen_options
from ..generation.draft import of_quality
from ..generation.options import GenerationOptions
from ..networks.checkpoint import bundled_model_path, read_config
from .manifest import Job
from .speaking import FAILED, Outcome, Speaker

LOCAL = "local"
MAX_BLOCK = 64
"""Lines given to a worker at a time: enough to fill its batches, few enough to spread the end of the work."""
BLOCKS_PER_WORKER = 4
CONNECT_SECONDS = 10.0

log = logging.getLogger(__name__)


class ClusterError(DiffPoseTalkError, kind="cluster"):
    """The cluster cannot be reached, or lost all of its workers."""


@dataclass(frozen=True)
class Work:
    """What workers need to know.

    Attributes:
        model: model directory, on every node; None is the one bundled there. folder: for the clips, on every node.
        device, precision, threads, rows: as of `checkpoint.load_model`.
        overwrite, retries: as of `speaking.Speaker`. options: of all lines, as of the same.
    """

    model: str | None
    folder: str
    options: GenerationOptions
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = 1
    rows: int | None = None
    overwrite: bool = False
    retries: int = 1


class SpeakingActor:
    """What Ray Data makes one of on each worker: the model, loaded, and blocks of jobs through it."""

    def __init__(self, work: Work) -> None:
        from ..networks.checkpoint import load_model

        model = load_model(work.model, work.device, work.precision, work.threads, work.rows)
        model = of_quality(model, work.model, work.options.quality)
        folder, again = Path(work.folder), work.retries
        self.speaker = Speaker(model, folder, work.options, overwrite=work.overwrite, retries=again)

    def __call__(self, block: dict[str, Any]) -> dict[str, list[str]]:
        """Outcomes of a block of jobs, both as JSON texts."""
        outcomes: list[Outcome] = []
        self.speaker.run((Job.from_dict(json.loads(text)) for text in block["job"]), outcomes.append)
        return {"outcome": [json.dumps(asdict(outcome)) for outcome in outcomes]}


def run_on_cluster(
    arguments: argparse.Namespace, jobs: Sequence[Job], folder: Path, report: Callable[[Outcome], None]
) -> dict[str, Any]:
    """`diffposetalk batch --ray ADDRESS`: arguments of the command line; returns facts for the report."""
    read_config(arguments.model or bundled_model_path())  # a wrong model is told at once, not by every worker
    model = None if arguments.model is None else str(arguments.model.absolute())
    same = {name: getattr(arguments, name) for name in ("device", "precision", "overwrite", "retries")}
    own = {"threads": arguments.threads or 1, "rows": arguments.batch}
    work = Work(model, str(folder), chosen_options(arguments), **own, **same)
    with connected(arguments.ray, arguments.workers):
        return speak_on_cluster(work, jobs, report, workers=arguments.workers)


@contextmanager
def connected(address: str, workers: int | None = None) -> Iterator[None]:
    """A connection to a cluster, or with `local` a cluster on this machine for as long as the body lasts.

    Raises:
        DiffPoseTalkError: kind extra_missing; Ray is not installed. ClusterError: nothing answers there.
    """
    prepare_environment(local=address == LOCAL)
    ray = _ray()
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.WARNING}
    if address == LOCAL:
        options |= {"include_dashboard": False, "num_cpus": workers}
    else:
        _knock(address)
    started_in = os.getcwd()
    # Ray lets workers import from the folder in which it is started: that is to be ours, not any that was downloaded.
    os.chdir(Path(__file__).parents[2])
    try:
        ray.init(**options)
    except Exception as error:
        raise ClusterError(f"There is no Ray cluster at “{address}”: {_last_line(error)}.") from error
    finally:
        os.chdir(started_in)
    try:
        yield
    finally:
        ray.shutdown()


def prepare_environment(local: bool) -> None:
    """Settings that Ray reads when it is imported and started; those that the user has made stay."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if local:
        # Without clusters of several machines Ray binds to 127.0.0.1 on every system, not only where that is the rule.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # Other users of this machine can reach the loopback interface, too.
        if "RAY_AUTH_MODE" not in os.environ:
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def speak_on_cluster(
    work: Work, jobs: Sequence[Job], report: Callable[[Outcome], None], *, workers: int | None = None
) -> dict[str, Any]:
    """Run jobs on the cluster that is connected; each job's outcome is reported once, as its block is finished.

    Args:
        workers: models at work at most; None is one a GPU, or where the cluster has none one for every `threads` CPUs.

    Returns:
        Facts for the report.

    Raises:
        ClusterError: no worker could be started.
    """
    ray = _ray()
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    on_gpu = gpus > 0 and work.device in ("auto", "cuda")
    threads = work.threads or 1
    most = gpus if on_gpu else max(1, cpus // threads)
    count = most if workers is None else min(workers, most)
    left = {job.row: job for job in jobs}
    for attempt in range(1, work.retries + 2):
        if not left:
            break
        try:
            for outcome in _outcomes(ray, work, list(left.values()), count, on_gpu, threads):
                if left.pop(outcome.row, None) is not None:
                    report(outcome)
        except Exception as error:
            if attempt > work.retries:
                raise ClusterError(
                    f"The cluster gave up on {len(left)} lines: {_last_line(error)}. "
                    "Run the same command again to go on."
                ) from error
            log.warning("the cluster broke off (%s); %d lines are given to it again", error, len(left))
    for job in left.values():
        report(Outcome(job.row, job.audio, job.output, FAILED, kind="lost", message="Its worker was lost."))
    return {"workers": count, "nodes": sum(node["Alive"] for node in ray.nodes()), "gpus": gpus}


def _outcomes(
    ray: Any, work: Work, jobs: list[Job], workers: int, on_gpu: bool, threads: int
) -> Iterator[Outcome]:
    """Outcomes as blocks are finished, in any order."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    size = max(1, min(MAX_BLOCK, math.ceil(len(jobs) / (workers * BLOCKS_PER_WORKER))))
    rows = [{"job": json.dumps(asdict(job))} for job in jobs]
    done = ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / size)).map_batches(
        SpeakingActor,
        fn_constructor_args=(work,),
        batch_size=size,
        # A pool that may shrink to one: a node that is lost must not stop the others. Ray Data restarts actors and
        # repeats their tasks without limit by itself.
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=2
        ),
        num_cpus=threads,
        num_gpus=1 if on_gpu else 0,
    )
    for row in done.iter_rows():
        yield Outcome(**json.loads(row["outcome"]))


def _knock(address: str) -> None:
    """Raise ClusterError where nothing listens at HOST:PORT; Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # auto, or something only Ray knows
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"There is no Ray cluster at “{address}”: {error}.") from error


def _ray() -> Any:
    missing = DiffPoseTalkError(
        'Batches on a cluster need Ray: pip install "diffposetalk[ray]".', "extra_missing"
    )
    with refusing(missing, ImportError):
        import ray
        import ray.data
    return ray


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[-1].strip() if lines else type(error).__name__).rstrip(".")
