# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend is killed or hangs at any stage, or says what is not its protocol."""

import os
import signal

import pytest
from support.scene_state import scene_state
from support.waiting import PATIENCE, wait_until

STAGES = ("start", "Loading the model", "Making the motion", "writing")


@pytest.fixture
def stopped_at(api, part, start, faulty, head, recordings):
    """Function that brings a job to a stage, and holds it there."""

    def at(stage):
        if stage == "start":
            folder = faulty("slow-start")
            job = api.generate(head, recordings / "speech.wav", blocking=False)
        elif stage == "Loading the model":
            folder = faulty("loading")
            job = start(head, stage)
        elif stage == "Making the motion":
            folder = faulty("hanging")
            job = start(head, stage)
        else:
            folder = faulty("writing")
            job = api.generate(head, recordings / "speech.wav", blocking=False)
        wait_until(lambda: job.poll() != "running" or any(folder.iterdir()))
        assert job.state == "running" and any(folder.iterdir())  # the fault has struck
        if stage == "writing":
            assert list(job._folder.rglob(".part-*"))
        return job

    return at


@pytest.mark.parametrize("stage", STAGES)
def test_killed(part, head, stopped_at, generate_again, stage):
    before = scene_state()
    job = stopped_at(stage)
    folder = job._folder  # it is made when it is first asked for
    os.kill(part("engine.session").client().process.pid, signal.SIGKILL)
    assert job.wait(PATIENCE) == "failed"
    assert "SIGKILL" in str(job.failure) and "try again" in str(job.failure)
    assert scene_state() == before and not folder.exists()
    generate_again(head)


@pytest.mark.parametrize("stage", STAGES)
def test_hung(part, head, stopped_at, generate_again, stage):
    """Standing still, it is killed after a while of silence; how long that is, is shortened here."""
    before = scene_state()
    job = stopped_at(stage)
    folder, pid = job._folder, part("engine.session").client().process.pid
    os.kill(pid, signal.SIGSTOP)
    job.poll()  # takes in what was said before
    assert 0 < job._call.timeout <= 600
    job._call.timeout = 0.5
    assert job.wait(PATIENCE) == "failed"
    assert "in time" in str(job.failure) and job.failure.kind == "timeout"
    assert scene_state() == before and not folder.exists()
    assert not os.path.exists(f"/proc/{pid}")
    generate_again(head)


def test_a_backend_that_makes_no_progress_can_be_cancelled(part, head, stopped_at, generate_again):
    """Its connection lives and answers, its work does not go on."""
    before = scene_state()
    job = stopped_at("Making the motion")
    job.cancel()
    assert job.wait(PATIENCE) == "cancelled" and scene_state() == before
    generate_again(head)


def test_a_backend_that_stands_still_can_be_cancelled(part, head, start, generate_again):
    before = scene_state()
    job = start(head)
    pid = part("engine.session").client().process.pid
    os.kill(pid, signal.SIGSTOP)
    job.cancel()
    assert job.wait(PATIENCE) == "cancelled" and scene_state() == before
    assert not os.path.exists(f"/proc/{pid}")
    generate_again(head)


def test_killed_between_two_jobs(part, head, generate_again):
    generate_again(head)
    process = part("engine.session").client().process
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    generate_again(head)
    assert part("engine.session").client().process.pid != process.pid


@pytest.mark.parametrize("kind", ["text", "half", "long"])
def test_garbage_on_its_output(part, head, api, faulty, recordings, generate_again, kind):
    faulty(f"garbage-{kind}")
    before = scene_state()
    with pytest.raises(api.BackendError, match=r"protocol|ended") as caught:
        api.generate(head, recordings / "speech.wav", steps=8)
    assert "Traceback" not in str(caught.value) and len(str(caught.value)) < 600
    assert scene_state() == before
    generate_again(head)


def test_a_lost_device(part, head, api, faulty, recordings, generate_again):
    """A process never gets a lost GPU back: the next job has another one."""
    faulty("lost-device")
    before = scene_state()
    with pytest.raises(api.BackendError, match=r"stopped working.*unspecified launch failure") as caught:
        api.generate(head, recordings / "speech.wav", steps=8)
    assert caught.value.kind == "device_lost" and "\n" not in str(caught.value)
    assert scene_state() == before and not part("engine.session")._client.alive
    generate_again(head)
