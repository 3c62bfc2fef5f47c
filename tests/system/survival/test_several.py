# SPDX-License-Identifier: GPL-3.0-or-later
"""Several jobs at once, in a row, and in several Blenders."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import bpy
import pytest
from support.scene_state import scene_state
from support.survivors import backend_processes, children
from support.waiting import PATIENCE, wait_until


def wait_for_all(jobs):
    """Poll jobs as Blender's timers do, until all have ended."""
    wait_until(lambda: "running" not in [job.poll() for job in jobs], lambda: [job.text for job in jobs])


def model_of(job):
    return job.results[0].actions[0][0]["model_sha256"]


def test_two_jobs_with_two_models(api, part, recordings, tiny_models):
    """Each is made with the model that was chosen when it was started."""
    heads = [api.add_head(name)[0] for name in ("Ann", "Bob")]
    preferences = part("install.preferences").addon_preferences()
    jobs = []
    for head, model in zip(heads * 2, [*tiny_models, *tiny_models], strict=True):
        preferences.model_directory = str(model)
        jobs.append(api.generate(head, recordings / "speech.wav", blocking=False))
    wait_for_all(jobs)
    assert [job.state for job in jobs] == ["done"] * 4
    assert model_of(jobs[0]) == model_of(jobs[2]) != model_of(jobs[1]) == model_of(jobs[3])
    assert len(backend_processes(children(os.getpid()))) == 1


def test_two_jobs_for_one_head(api, part, head, recordings):
    jobs = [api.generate(head, recordings / "speech.wav", seed=seed, blocking=False) for seed in (1, 2)]
    wait_for_all(jobs)
    assert [job.state for job in jobs] == ["done", "done"]
    assert head.data.shape_keys.animation_data.action == jobs[1].results[0].actions[0][0]
    assert len(part("takes.record").takes_of(head)) == 2


def test_ten_in_a_queue(api, part, head, recordings, start, gate):
    """The first is killed with its backend, the second and the last are cancelled: the others are made."""
    first = start(head)
    jobs = [api.generate(head, recordings / "speech.wav", seed=seed, blocking=False) for seed in range(9)]
    for job in jobs:
        assert job.poll() == "running" and job.text == "Waiting for another job"
    os.kill(part("engine.session").client().process.pid, signal.SIGKILL)
    jobs[0].cancel()
    jobs[8].cancel()
    assert jobs[8].poll() == "cancelled"  # it need not wait for its turn
    gate.open()
    wait_for_all([first, *jobs])
    assert first.state == "failed" and [job.state for job in jobs] == [
        "cancelled",
        *["done"] * 7,
        "cancelled",
    ]
    assert len(part("takes.record").takes_of(head)) == 7
    assert head.data.shape_keys.animation_data.action == jobs[7].results[0].actions[0][0]


def test_a_job_that_nobody_polls_holds_no_other_up(api, head, start, gate, recordings):
    left_alone = start(head)
    gate.open()
    assert api.generate(head, recordings / "speech.wav")[0].seeds == [0]
    assert left_alone.state == "done"


def test_another_file_is_loaded_meanwhile(api, head, start, tmp_path, generate_again):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"), check_existing=False)
    job = start(head)
    waiting = api.generate(head, job._speeches[0][0].span.path, blocking=False)
    waiting.poll()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    before = scene_state()
    wait_for_all([waiting, job])
    assert job.state == waiting.state == "cancelled" and scene_state() == before
    generate_again(bpy.data.objects["Ann"])


def test_the_addon_is_disabled_meanwhile(addon, api, head, start, part):
    job = start(head)
    folder, pid = job._folder, part("engine.session").client().process.pid
    bpy.context.view_layer.update()  # the head's drivers
    before = scene_state()
    bpy.ops.preferences.addon_disable(module=addon.__name__)
    assert job.state == "cancelled" and not folder.exists() and not os.path.exists(f"/proc/{pid}")
    bpy.ops.preferences.addon_enable(module=addon.__name__)
    assert scene_state() == before


BLENDER = Path(__file__).parent / "another_blender.py"


def another_blender(addon_zip, gate, tiny_models, recording, folder, *how):
    """A Blender of its own that generates, as a process that says how far it is."""
    folder.mkdir()
    environment = {
        **os.environ,
        "TMPDIR": str(folder),
        "BLENDER_USER_RESOURCES": str(folder / "resources"),
        "DIFFPOSETALK_BACKEND_PYTHON": str(gate.python),
    }
    command = [sys.executable, str(BLENDER), str(addon_zip), str(tiny_models[0]), str(recording), *how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def wait_until_working(process):
    """The pid of its backend, when that is in the midst of a window."""
    for line in process.stdout:
        if line.startswith("working "):
            return int(line.split()[1])
    raise AssertionError("it ended before")


@pytest.mark.parametrize("how", ["exit", "abrupt", "SIGTERM", "SIGKILL"])
def test_blender_quits_meanwhile(addon_zip, gate, tiny_models, recordings, tmp_path, how):
    folder = tmp_path / "blender"
    gate.close()
    process = another_blender(addon_zip, gate, tiny_models, recordings / "minute.flac", folder, how)
    backend = wait_until_working(process)
    if how.startswith("SIG"):
        process.send_signal(getattr(signal, how))
    process.wait(PATIENCE)
    process.stdout.close()
    wait_until(lambda: not os.path.exists(f"/proc/{backend}"))
    left = [p for p in folder.rglob("*") if p.is_file() and "resources" not in p.parts]
    assert not left, left


def test_two_blenders_share_one_environment(addon_zip, gate, tiny_models, recordings, tmp_path):
    processes = [
        another_blender(addon_zip, gate, tiny_models, recordings / "minute.flac", tmp_path / name, "finish")
        for name in ("one", "two")
    ]
    said = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    results = [json.loads(text.splitlines()[-1]) for text in said]
    assert results[0] == results[1] and results[0]["state"] == "done"
    assert results[0]["keys"] == [1440]  # of a minute at 24 a second
