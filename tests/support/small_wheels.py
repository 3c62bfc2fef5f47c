# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiny made-up packages, locks of them, and a made-up backend, to try installing without a network."""

import base64
import hashlib
import json
import zipfile
from pathlib import Path


def write_wheel(folder: Path, name: str, version: str, files: dict[str, str] | None = None) -> Path:
    """A wheel of one module with the name of the package, or of `files`."""
    contents = {f"{name}.py": f"__version__ = {version!r}\n"} if files is None else files
    info = f"{name}-{version}.dist-info"
    contents = {
        **contents,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    return wheel


def lock_of(wheels: list[Path]) -> str:
    """A lock file that names these wheels by version and checksum."""
    lines = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")
    return "".join(lines)


_BACKEND = """
import json, math, sys
from pathlib import Path

STORY = json.loads({story!r})


def answer(method, params):
    if method == "initialize":
        import torch
        return {{"protocol": 1, "version": STORY["version"], "python": sys.version.split()[0],
                "torch": torch.__version__, "device": STORY["device"], "devices": [STORY["device"], "cpu"]}}
    if method == "load_model":
        if params["device"] != "cpu" and STORY["broken_device"]:
            raise ValueError("the device does not work")
        return {{}}
    if method == "generate":
        path = Path(params["output_dir"]) / "take.npz"
        path.write_bytes((Path(__file__).parent / "take.npz").read_bytes())
        return {{"takes": [{{"path": str(path)}}]}}
    return {{}}


for line in sys.stdin:
    asked = json.loads(line)
    try:
        told = {{"result": answer(asked["method"], asked["params"])}}
    except ValueError as error:
        told = {{"error": {{"code": -32000, "message": str(error), "data": {{"kind": "device"}}}}}}
    print(json.dumps({{"jsonrpc": "2.0", "id": asked["id"], **told}}), flush=True)
    if asked["method"] == "shutdown":
        break
"""


def write_backend(
    folder: Path, version: str, *, device: str = "cpu", broken_device: bool = False, value: float = 1.0
) -> Path:
    """A folder with a package `diffposetalk` that speaks the protocol and answers every recording with one take."""
    import numpy as np

    package = folder / "diffposetalk"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    story = json.dumps({"version": version, "device": device, "broken_device": broken_device})
    (package / "__main__.py").write_text(_BACKEND.format(story=story))
    motion = np.linspace(0, value, 25)[:, None]
    np.savez(package / "take.npz", exp=np.repeat(motion, 50, 1), pose=np.repeat(motion, 6, 1))
    return folder
