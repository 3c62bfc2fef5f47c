# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/security.md promises about the process, seen while it is at work."""

import contextlib
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.survivors import children
from support.waiting import PATIENCE


def descriptors(pid):
    """What a process has open, by number; nothing when it has just ended."""
    found = {}
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed just now
                found[int(entry.name)] = os.readlink(entry)
    return found


def test_it_talks_to_its_parent_only(part, head, start):
    """Neither it nor a child of it has a socket of any kind, and all its pipes end in Blender."""
    job = start(head)
    backend = part("engine.session").client().process.pid
    ours = set(descriptors(os.getpid()).values())
    for _ in range(20):
        job.poll()
        for pid in {backend, *children(backend)}:
            opened = descriptors(pid)
            if pid != backend and not opened:
                continue
            assert not [what for what in opened.values() if what.startswith("socket:")]
            pipes = {what for what in opened.values() if what.startswith("pipe:")}
            assert pipes and pipes <= ours
            assert opened[0] == "/dev/null"
    job.cancel()
    assert job.wait(PATIENCE) == "cancelled"


def test_others_cannot_read_what_it_writes(head, start):
    """The folder of a job is its user's alone."""
    job = start(head)
    assert stat.S_IMODE(job._folder.stat().st_mode) == 0o700
    job.cancel()
    job.wait(PATIENCE)


def test_it_ends_with_blender_and_listens_to_nobody_else(part, head, generate_again):
    generate_again(head)
    process = part("engine.session").client().process
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6", "unix"):
        path = Path(f"/proc/{process.pid}/net/{table}")
        inodes = {what[8:-1] for what in descriptors(process.pid).values() if what.startswith("socket:[")}
        listening += [line for line in path.read_text().splitlines() if set(line.split()) & inodes]
    assert not listening
    process.close_input()
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    "name", ["../outside.npy", "/tmp/outside.npy", "exp/../../outside.npy", "C:\\outside.npy"]
)
def test_names_in_archives_lead_nowhere(part, api, tmp_path, name):
    """Arrays are read from archives, never unpacked into files, whatever they are called."""
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    np.savez(folder / "clip.npz", exp=np.zeros((10, 50), "f4"), pose=np.zeros((10, 6), "f4"))
    with zipfile.ZipFile(folder / "clip.npz", "a") as archive:
        archive.writestr(name, archive.read("exp.npy"))
    before = set(tmp_path.rglob("*"))
    for read in (part("data.motion").read_motion, part("data.head_asset").load_head):
        try:
            read(folder / "clip.npz")
        except api.UserError as error:
            assert "Traceback" not in str(error)
    assert set(tmp_path.rglob("*")) == before and not os.path.exists("/tmp/outside.npy")
