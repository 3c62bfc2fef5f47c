# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender in a real window on a screen of its own, driven from outside.

Blender and its X server run in a Debian folder that `build_addon.py` makes, in name spaces of their own for mounts
and processes: whatever was mounted is gone with them, and nothing of it is ever seen from outside.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
START_SECONDS = 300.0
SEEN, SAME = (
    48,
    2e-4,
)  # a difference of 255 that is seen, colours reduced; share of pixels in pictures of the same

# Everything below happens in name spaces that end with their first process.
_ENTER = """
set -e
root=$1; shared=$2; script=$3; shift 3
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
for folder in "$@"; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    [ "$folder" = "$shared" ] || mount -o remount,bind,ro "$root$folder"
done
exec chroot "$root" /bin/sh -c "$script" "$shared"
"""
_WINDOW = """
cd "$0"
Xvfb -nocursor -displayfd 3 -screen 0 "${WIDTH}x${HEIGHT}x24" -fbdir "$0/screen" -nolisten tcp \\
    3>"$0/display" 2>"$0/xvfb.log" &
while [ ! -s "$0/display" ]; do sleep 0.05; done
export DISPLAY=:$(cat "$0/display")
exec blender --enable-event-simulate --window-geometry 0 0 "$WIDTH" "$HEIGHT" --python-exit-code 1 \\
    --python "$INSIDE_BLENDER" -- "$0/socket"
"""


def start_inside(
    script: str, root: Path, shared: Path, seen: list[Path], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start a shell script in the Debian folder, cut off from the network; what it says goes to `shared`/blender.log.

    Args:
        script: its $0 is the shared folder.
        root: the Debian folder.
        shared: a folder that it sees too, under the same name, and may write to.
        seen: folders that it sees and may only read.
        environment: variables beside those every Blender needs.
    """
    for name in ("home", "blender"):
        (shared / name).mkdir(parents=True, exist_ok=True)
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    command += ["sh", "-c", _ENTER, "sh", str(root), str(shared), script]
    command += [str(folder) for folder in [shared, HERE, *seen]]
    with (shared / "blender.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8",
                "HOME": str(shared / "home"),
                "BLENDER_USER_RESOURCES": str(shared / "blender"),
                **environment,
            },
        )


class RealWindow:
    """Blender on a screen.

    Args:
        root: the Debian folder with Blender and Xvfb.
        shared: a folder that Blender sees too, under the same name, and may write to: its settings, log and exports.
        seen: folders that it sees and may only read.
        size: of the screen in pixels.
        environment: variables for Blender.
    """

    def __init__(
        self,
        root: Path,
        shared: Path,
        seen: list[Path],
        size: tuple[int, int] = (1600, 900),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.shared, self.size = shared, size
        (shared / "screen").mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        for name in ("socket", "display"):
            (shared / name).unlink(missing_ok=True)
        listener.bind(str(shared / "socket"))
        listener.listen(1)
        listener.settimeout(START_SECONDS)
        self.log = shared / "blender.log"
        self.process = start_inside(
            _WINDOW,
            root,
            shared,
            seen,
            {
                "LIBGL_ALWAYS_SOFTWARE": "1",
                "INSIDE_BLENDER": str(HERE / "inside_blender.py"),
                "WIDTH": str(size[0]),
                "HEIGHT": str(size[1]),
                **(environment or {}),
            },
        )
        try:
            with listener:
                self.connection, _ = listener.accept()
        except TimeoutError:
            self.close()
            raise RuntimeError(f"Blender did not start:\n{self.log.read_text(errors='replace')}") from None
        self._answers = self.connection.makefile("rb")

    def run(self, source: str, timeout: float = 600.0, **values: Any) -> Any:
        """Run Python source in Blender and return its `result`, or what its generator `steps()` returns.

        Args:
            values: names that the source uses; whatever JSON can say.
        """
        given = "".join(f"{name} = {value!r}\n" for name, value in values.items())
        self.connection.settimeout(timeout)
        self.connection.sendall(json.dumps(given + source).encode() + b"\n")
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"Blender has ended:\n{self.log.read_text(errors='replace')[-4000:]}")
        told = json.loads(line)
        if "error" in told:
            raise RuntimeError(told["error"])
        return told["result"]

    def ask(self, expression: str) -> Any:
        """The value of a Python expression in Blender."""
        return self.run(f"result = {expression}")

    def wait_for(self, expression: str, timeout: float = 300.0) -> Any:
        """Wait until an expression is true, and return its value."""
        source = f"""
def steps():
    until = time.monotonic() + {timeout}
    while not ({expression}):
        if time.monotonic() > until:
            raise TimeoutError({expression!r})
        yield
    return {expression}
"""
        return self.run(source, timeout + 30.0)

    def rest(self, seconds: float = 0.3) -> None:
        """Let Blender draw."""
        self.run(f"def steps():\n    yield from wait({seconds})")

    def picture(self) -> np.ndarray:
        """The screen as it is, (height, width, 3) uint8."""
        with (self.shared / "screen" / "Xvfb_screen0").open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            header = struct.unpack(">25I", data[:100])
            offset, height, line = header[0] + 12 * header[19], header[5], header[12]
            rows = np.frombuffer(data, np.uint8, height * line, offset).reshape(height, line)
            pixels = rows[:, : 4 * header[4]].reshape(height, header[4], 4)[:, :, 2::-1].copy()
            del rows
            data.close()
        return pixels

    def box(self, kind: str) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, on the screen, of the window that shows an editor of a kind."""
        found = f"find_area({kind!r})[0]"
        left, bottom, width, height = self.run(f"w = {found}\nresult = w.x, w.y, w.width, w.height")
        right, top = left + width, self.size[1] - bottom - height
        return max(left, 0), max(top, 0), min(right, self.size[0]), min(top + height, self.size[1])

    def area_box(self, kind: str) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, on the screen, of an editor in the main window."""
        x, y, width, height = self.run(f"a = find_area({kind!r}, 0)[1]\nresult = a.x, a.y, a.width, a.height")
        return x, self.size[1] - y - height, x + width, self.size[1] - y

    def screenshot(self, path: Path, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """Keep a picture of the screen, or of a box of it (left, top, right, bottom), as a small PNG.

        A picture that is there already and hardly differs is kept. Returns the picture, (height, width, 3).
        """
        self.rest()
        image = Image.fromarray(self.picture())
        if box is not None:
            image = image.crop(box)
        pixels = np.asarray(image)
        if path.is_file():
            before = np.asarray(Image.open(path).convert("RGB"))
            if (
                before.shape == pixels.shape
                and (np.abs(before.astype(int) - pixels).max(2) > SEEN).mean() < SAME
            ):
                return pixels
        path.parent.mkdir(parents=True, exist_ok=True)
        image.quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
        return pixels

    def close(self) -> None:
        """End Blender and all that it started."""
        if hasattr(self, "connection"):
            self.connection.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()  # and with it the first process of its name space, and so all of them
        self.process.wait()


def python_folders(python: Path) -> list[Path]:
    """The folders that an interpreter needs: its environment's, and that of the Python it was made with."""
    asked = "import sys; print(sys.prefix); print(sys.base_prefix)"
    done = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True)
    return [Path(os.path.realpath(line)) for line in done.stdout.split("\n") if line]
