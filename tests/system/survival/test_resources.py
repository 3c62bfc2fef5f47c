# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory, disk, temporary folders and logs run out or go away."""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
from pathlib import Path

import bpy
import pytest
from support.scene_state import scene_state
from support.waiting import PATIENCE


def memory_of(pid):
    """Bytes of address space that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def test_out_of_memory_in_a_generation(part, head, api, recordings, generate_again):
    generate_again(head)
    process = part("engine.session").client().process
    before = scene_state()
    resource.prlimit(
        process.pid, resource.RLIMIT_AS, (memory_of(process.pid) + (24 << 20), resource.RLIM_INFINITY)
    )
    with pytest.raises(api.BackendError, match=r"memory") as caught:
        api.generate(head, recordings / "ten minutes.flac", takes=64)
    assert "Traceback" not in str(caught.value) and scene_state() == before
    with contextlib.suppress(ProcessLookupError):  # it may have ended of it
        resource.prlimit(process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    generate_again(head)


def test_too_little_memory_to_start(head, api, part, faulty, recordings, generate_again):
    faulty("", before="ulimit -v 300000")
    before = scene_state()
    with pytest.raises(api.BackendError) as caught:
        api.generate(head, recordings / "speech.wav")
    assert "memory" in str(caught.value).lower() and "Traceback" not in str(caught.value), str(caught.value)
    assert scene_state() == before
    part("install.preferences").addon_preferences().backend_python = ""
    generate_again(head)


@pytest.fixture
def small_disk(tmp_path, part):
    """A file system of a megabyte and a half as Blender's temporary folder."""
    place = tmp_path / "small disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    filepaths = bpy.context.preferences.filepaths
    before = filepaths.temporary_directory
    filepaths.temporary_directory = str(place)
    assert Path(bpy.app.tempdir).is_relative_to(place), "Blender uses another folder"
    yield place
    filepaths.temporary_directory = before
    subprocess.run(["umount", place], check=True)


def fill(place, leave):
    """Take all of a disk but some bytes."""
    with open(place / "ballast", "wb") as file:
        try:
            while True:
                file.write(b"\0" * 4096)
                file.flush()
        except OSError as error:
            assert error.errno == errno.ENOSPC
        with contextlib.suppress(OSError):
            file.close()
    size = (place / "ballast").stat().st_size
    os.truncate(place / "ballast", max(0, size - leave))


@pytest.mark.parametrize("leave", [0, 64 << 10])
def test_disk_full(head, api, recordings, small_disk, generate_again, leave):
    """There is room for nothing, or for the first windows only."""
    fill(small_disk, leave)
    before = scene_state()
    with pytest.raises((api.UserError, api.BackendError), match=r"(?i)space|full") as caught:
        api.generate(head, recordings / "minute.flac", takes=8)
    assert "Traceback" not in str(caught.value)
    assert scene_state() == before
    assert [p for p in small_disk.rglob("*") if p.is_file()] == [small_disk / "ballast"]
    (small_disk / "ballast").unlink()
    generate_again(head)


def test_the_jobs_folder_is_removed_meanwhile(head, start, gate, generate_again):
    before = scene_state()
    job = start(head)
    shutil.rmtree(job._folder)
    gate.open()
    assert job.wait(PATIENCE) == "failed"
    assert "Traceback" not in str(job.failure) and "Cannot write" in str(job.failure)
    assert scene_state() == before
    generate_again(head)


def test_blenders_temporary_folder_is_removed(head, generate_again):
    """As programs that clean /tmp do to a Blender that runs for weeks."""
    place = Path(bpy.app.tempdir)
    shutil.rmtree(place)
    try:
        generate_again(head)
    finally:
        place.mkdir(exist_ok=True)


@pytest.mark.parametrize("log", ["2>/dev/full", "2>&-"])
def test_a_log_that_cannot_be_written(head, faulty, recordings, part, generate_again, log):
    faulty("", shell=log)
    generate_again(head)
    assert part("engine.session").client().alive
