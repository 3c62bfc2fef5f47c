# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing the backend with the real uv from a folder of made-up wheels: nothing is downloaded.

Everything lies in folders with spaces and letters beyond ASCII in their names.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest
from support.package_index import PackageIndex
from support.paths import ROOT
from support.read_only_disk import read_only
from support.small_wheels import lock_of, write_backend, write_wheel
from support.waiting import wait_until

BLENDER = ROOT / "tests" / "support" / "installing_blender.py"


@pytest.fixture(scope="session")
def uv(backend_python):
    """The uv of the environment of the backend's tests."""
    program = Path(backend_python).parent / ("uv.exe" if os.name == "nt" else "uv")
    if not program.is_file():
        pytest.fail("The backend's environment for tests has no uv; build_addon.py makes one with it.")
    return str(program)


@pytest.fixture
def place(part, monkeypatch, tmp_path, uv):
    """A package with made-up wheels, locks and backend; the installation's folder; sources without a network."""
    module, sources = part("install.environment"), part("install.sources")
    folder, wheels = tmp_path / "Benutzer Žluťoučký 顔", tmp_path / "wheels für alle"
    locks = tmp_path / "package"
    for new in (folder, wheels, locks):
        new.mkdir()
    small = [write_wheel(wheels, "numpoints", "1.0"), write_wheel(wheels, "speechparts", "2.1")]
    write_wheel(wheels, "torch", "1.0")
    (locks / "requirements.txt").write_text("# pins\nnumpoints==1.0\nspeechparts==2.1\ntorch==1.0\n")
    (locks / "requirements.lock").write_text(lock_of(small))
    extra = [write_wheel(wheels, "av", "3.0"), write_wheel(wheels, "mediapipe", "4.0")]
    (locks / "tracking.lock").write_text(lock_of(extra))
    backend = write_backend(tmp_path / "backend", module.VERSION)
    monkeypatch.setattr(module, "environments_folder", lambda: folder)
    monkeypatch.setattr(module, "REQUIREMENTS", locks / "requirements.txt")
    monkeypatch.setattr(module, "LOCK", locks / "requirements.lock")
    tracking = module.Extra("tracking", "Tracking", locks / "tracking.lock", ("av", "mediapipe"), "", "Hint")
    monkeypatch.setattr(module, "TRACKING", tracking)
    monkeypatch.setattr(module, "EXTRAS", {"tracking": tracking})
    monkeypatch.setattr(part("data.bundled"), "BACKEND_DIRECTORY", backend)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv cache"))
    return SimpleNamespace(
        module=module,
        setup=part("install.setup"),
        folder=folder,
        wheels=wheels,
        locks=locks,
        backend=backend,
        sources=sources.Sources(wheel_folder=str(wheels), wheels_only=True, uv=uv),
    )


@pytest.fixture
def index(place, monkeypatch):
    """An index of the made-up wheels, of which one stops halfway; PyTorch's wheel alone lies in a folder."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    noise = os.urandom(200_000).hex()
    big = write_wheel(place.wheels, "speechparts", "2.1", {"speechparts.py": f"NOISE = '{noise}'\n"})
    small = place.wheels / "numpoints-1.0-py3-none-any.whl"
    (place.locks / "requirements.lock").write_text(lock_of([small, big]))
    (place.wheels / "torch-1.0-py3-none-any.whl").unlink()
    torch = place.wheels / "torch"
    torch.mkdir()
    write_wheel(torch, "torch", "1.0+cpu")
    serving = PackageIndex(place.wheels, held=big.name)
    yield serving
    serving.close()


def preferences_for(place, index, **more):
    """With which Set Up Backend takes packages from the index, and PyTorch's from its folder."""
    torch = {"wheel_folder": str(place.wheels / "torch"), "torch_build": "index"}
    return {"package_index": f"{index.address}/simple", "uv_program": place.sources.uv, **torch, **more}


def copy_extension(addon, place, folder, backend=None):
    """The extension with the made-up locks, and a made-up backend where one is given."""
    shutil.copytree(Path(addon.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.txt", "requirements.lock"):
        shutil.copy(place.locks / name, folder / "backend" / name)
    if backend is not None:
        shutil.rmtree(folder / "backend" / "diffposetalk")
        shutil.copytree(backend / "diffposetalk", folder / "backend" / "diffposetalk")


def wait(job):
    wait_until(lambda: job.poll() != "running", lambda: list(job.log))
    return job.state


def install(place, *extras, **options):
    job = place.setup.SetupJob(place.sources, extras, **options)
    assert wait(job) == "done", (str(job.failure), list(job.log))
    return job


def environments(place):
    return [path for path in place.folder.iterdir() if path.is_dir()]


def new_backend(place, monkeypatch, part, name, **story):
    version = story.pop("version", place.module.VERSION)
    backend = write_backend(place.folder.parent / name, version, **story)
    monkeypatch.setattr(part("data.bundled"), "BACKEND_DIRECTORY", backend)


def test_an_installation_without_a_network(place):
    assert not bpy.app.online_access and place.module.installed_python() is None
    assert "not set up" in place.module.setup_problem()
    job = install(place)
    python = place.module.installed_python()
    assert python is not None and place.module.setup_problem() == "" and place.module.upgrade_offer() == ""
    code = "import numpoints, speechparts, torch; print(torch.__version__)"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "1.0"
    facts = place.module.current_environment().facts
    assert facts["torch"] == "1.0" and facts["version"] == place.module.VERSION and facts["bytes"] > 0
    assert any("One second of motion" in line for line in job.log) and not job.notes
    assert (place.folder / "setup.log").read_text(encoding="utf-8").rstrip().endswith("Done.")
    install(place)
    assert environments(place) == [place.module.current_environment().folder]


def test_a_wheel_that_was_changed_is_refused_and_the_old_environment_stays(place):
    install(place)
    python = place.module.installed_python()
    write_wheel(place.wheels, "speechparts", "2.1", {"speechparts.py": "print('something else')"})
    job = place.setup.SetupJob(place.sources, anew=True)
    assert wait(job) == "failed" and "could not be installed" in str(job.failure)
    assert "hash" in str(job.failure).lower() and "\n" not in str(job.failure)
    assert place.module.installed_python() == python and len(environments(place)) == 1


def test_a_missing_wheel_is_named(place):
    (place.wheels / "numpoints-1.0-py3-none-any.whl").unlink()
    job = place.setup.SetupJob(place.sources)
    assert wait(job) == "failed" and "numpoints" in str(job.failure)
    assert environments(place) == [] and place.module.installed_python() is None


def test_a_cancelled_installation_leaves_nothing(place):
    job = place.setup.SetupJob(place.sources)
    wait_until(lambda: any(place.folder.glob("e-*/pyvenv.cfg")) or job.poll() != "running")
    assert job.state == "running"
    job.cancel()
    assert wait(job) == "cancelled"
    assert environments(place) == [] and place.module.installed_python() is None


def test_what_a_killed_blender_left_is_not_used_and_goes(place):
    left = place.module.python_in(place.folder / "e-123456")
    left.parent.mkdir(parents=True)
    left.write_text("half")
    assert place.module.installed_python() is None
    install(place)
    assert environments(place) == [place.module.current_environment().folder]


def test_a_download_that_is_killed_midway_goes_on_the_next_time(place, index, addon, tmp_path):
    """Blender and uv killed at once, as by a power cut: the next press fetches what is missing, and only that."""
    resources = tmp_path / "resources"
    copy_extension(addon, place, resources / "extensions/user_default/diffposetalk", place.backend)
    command = [sys.executable, str(BLENDER), "bl_ext.user_default.diffposetalk"]
    command.append(json.dumps(preferences_for(place, index)))
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(resources)}
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        kept = tmp_path / "uv cache"  # the small one is whole there before
        wait_until(
            lambda: (
                (index.halfway.is_set() and any(kept.rglob("numpoints/*.http"))) or killed.poll() is not None
            )
        )
        assert killed.poll() is None
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    index.go_on.set()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert "not set up" in told["before"] and told["after"] == ""
    [environment_made] = [path for path in Path(told["folder"]).glob("e-*")]
    assert Path(told["python"]).is_relative_to(environment_made)
    code = "import numpoints, speechparts, torch; print(len(speechparts.NOISE))"
    said = subprocess.run([told["python"], "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "400000"
    assert index.times("numpoints-1.0-py3-none-any.whl") == 1, index.asked
    assert index.times("speechparts-2.1-py3-none-any.whl") == 2, index.asked


def test_the_proxy_is_asked_for_everything(place, index):
    """By uv itself, for a host that only the proxy knows."""
    index.go_on.set()
    chosen = preferences_for(place, index)
    sources = place.setup.Sources(
        package_index="http://packages.invalid/simple",
        wheel_folder=chosen["wheel_folder"],
        proxy=index.address,
        torch="index",
        uv=chosen["uv_program"],
    )
    job = place.setup.SetupJob(sources, online=True)
    assert wait(job) == "done", list(job.log)
    assert len(index.asked) >= 4 and all(p.startswith("http://packages.invalid/") for p in index.asked)


def test_a_read_only_blender(place, addon, backend_python, recordings, tmp_path):
    """Blender, its Python and the extension on a disk that cannot be written, as in a studio, for everybody.

    The backend is the real one, and everything but its packages is as users have it: those are the tests' own, brought
    in by a made-up wheel that leads to them.
    """
    if sys.version_info[:2] != (3, 11):
        pytest.skip("Blender's Python is not the one that the backend's packages are for")
    code = "import site; print(site.getsitepackages()[0])"
    packages = subprocess.run([backend_python, "-c", code], capture_output=True, text=True, check=True)
    wheel = write_wheel(place.wheels, "beside", "1.0", {"beside.pth": packages.stdout})
    (place.locks / "requirements.lock").write_text(lock_of([wheel]))
    # PyTorch itself must be the real one, not the made-up wheel's module.
    write_wheel(place.wheels, "torch", "1.0", {"nothing_here.py": ""})
    extensions, resources = tmp_path / "for everybody", tmp_path / "resources"
    copy_extension(addon, place, extensions / "system/diffposetalk")
    settings = {"wheel_folder": str(place.wheels), "wheels_only": True, "uv_program": place.sources.uv}
    command = [sys.executable, str(BLENDER), "bl_ext.system.diffposetalk", json.dumps(settings)]
    done = subprocess.run(
        [*read_only(extensions, Path(sys.prefix)), *command, str(recordings / "speech.wav")],
        env={
            **os.environ,
            "BLENDER_USER_RESOURCES": str(resources),
            "BLENDER_SYSTEM_EXTENSIONS": str(extensions),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert "not set up" in told["before"] and told["after"] == ""
    assert Path(told["python"]).is_relative_to(resources)
    assert told["facts"]["chosen_device"] == "auto" and told["facts"]["check_seconds"] > 0
    log = (Path(told["folder"]) / "setup.log").read_text(encoding="utf-8")
    assert "One second of motion" in log and told["actions"] == 2


@pytest.mark.parametrize(
    ("story", "message"),
    [
        ({"value": float("nan")}, "no motion"),
        ({"value": 0.0}, "no motion"),
        ({"version": "0.0.1"}, "version 0.0.1"),
    ],
)
def test_a_backend_that_does_not_generate_does_not_take_its_place(place, monkeypatch, part, story, message):
    new_backend(place, monkeypatch, part, "bad", **story)
    job = place.setup.SetupJob(place.sources)
    assert wait(job) == "failed" and message in str(job.failure)
    assert environments(place) == [] and place.module.installed_python() is None


def test_a_device_that_does_not_work_gives_way_to_the_processor(place, monkeypatch, part):
    new_backend(place, monkeypatch, part, "device", device="cuda", broken_device=True)
    job = install(place)
    assert place.module.current_environment().facts["chosen_device"] == "cpu"
    assert "cuda does not work" in job.notes[0]


def test_other_packages_are_offered_and_extras_are_kept(place):
    install(place, place.module.TRACKING)
    assert place.module.current_environment().extras == ("tracking",)
    newer = write_wheel(place.wheels, "numpoints", "1.1")
    text = (place.locks / "requirements.txt").read_text().replace("numpoints==1.0", "numpoints==1.1")
    (place.locks / "requirements.txt").write_text(text)
    kept = place.wheels / "speechparts-2.1-py3-none-any.whl"
    (place.locks / "requirements.lock").write_text(lock_of([newer, kept]))
    assert "wants others" in place.module.upgrade_offer() and place.module.installed_python() is not None
    install(place)
    assert place.module.upgrade_offer() == ""
    code = "import av, mediapipe, numpoints; assert numpoints.__version__ == '1.1'"
    subprocess.run([place.module.installed_python(), "-c", code], check=True)


def test_an_extra_that_does_not_run_is_not_taken(place):
    install(place)
    python = place.module.installed_python()
    bad = write_wheel(place.wheels, "av", "3.0", {"av.py": "raise ImportError('libGLESv2.so.2')"})
    whole = place.wheels / "mediapipe-4.0-py3-none-any.whl"
    place.module.TRACKING.lock.write_text(lock_of([bad, whole]))
    job = place.setup.SetupJob(place.sources, (place.module.TRACKING,))
    assert wait(job) == "failed" and "libGLESv2" in str(job.failure) and "Hint" in str(job.failure)
    assert place.module.installed_python() == python


def test_an_environment_whose_python_is_gone_asks_for_repair(place):
    install(place)
    place.module.installed_python().unlink()
    assert place.module.installed_python() is None and "Repair" in place.module.setup_problem()
    install(place, anew=True)
    assert place.module.setup_problem() == ""


def test_removing_leaves_nothing_and_two_do_not_install_at_once(place, api):
    install(place)
    first, second = (place.setup.SetupJob(place.sources) for _ in range(2))
    first.poll()
    assert second.poll() == "failed" and "Another Blender" in str(second.failure)
    with pytest.raises(api.UserError, match="Another Blender"):
        place.module.remove_environment()
    first.cancel()
    assert wait(first) == "cancelled" and place.module.installed_python() is not None
    place.module.remove_environment()
    assert environments(place) == [] and place.module.current_environment() is None


def test_blenders_python_that_cannot_serve_gives_way_to_one_of_uvs(place, monkeypatch):
    """What uv is asked for; a Python cannot be fetched here."""
    asked = place.folder.parent / "asked.txt"
    program = place.folder.parent / "pretended uv"
    program.write_text(f'#!/bin/sh\necho "$@" >> "{asked}"\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setattr(place.setup, "PYTHONS", ((3, 99), (3, 99)))
    sources = place.setup.Sources(uv=str(program))
    job = place.setup.SetupJob(sources, online=True)
    assert wait(job) == "failed"
    [line] = asked.read_text().splitlines()
    assert "--managed-python" in line and place.setup.MANAGED_PYTHON in line and sys.executable not in line


def made_up_uv(part, monkeypatch, folder):
    """A wheel of a uv that says hello, and the lock that names it."""
    module = part("install.uv")
    wheel = folder / "uv-9.9.9-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-9.9.9.data/scripts/uv", "#!/bin/sh\necho hello\n")
        archive.writestr("uv-9.9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 9.9.9\n")
        archive.writestr("uv-9.9.9.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
        archive.writestr("uv-9.9.9.dist-info/RECORD", "")
    lock = folder / "uv.lock.txt"
    lock.write_text(lock_of([wheel]))
    monkeypatch.setattr(module, "UV_LOCK", lock)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv(module.UV_VARIABLE, raising=False)
    return wheel


LINUX = pytest.mark.skipif(
    sysconfig.get_platform() != "linux-x86_64", reason="the made-up uv is for Linux on x86-64"
)


@LINUX
def test_uv_comes_from_the_wheel_folder_by_its_checksum(part, api, monkeypatch, tmp_path):
    module = part("install.uv")
    wheel = made_up_uv(part, monkeypatch, tmp_path)
    kept = tmp_path / "kept here"
    assert module.find_uv(module.Sources(), kept) is None
    program = module.find_uv(module.Sources(wheel_folder=str(tmp_path)), kept)
    assert subprocess.run([program], capture_output=True, text=True).stdout == "hello\n"
    assert module.find_uv(module.Sources(), kept) == program
    shutil.rmtree(kept)
    wheel.write_bytes(wheel.read_bytes() + b"\n")
    with pytest.raises(api.UserError, match="checksum"):
        module.find_uv(module.Sources(wheel_folder=str(tmp_path)), kept)
    assert not any(kept.rglob("uv"))


@LINUX
def test_uv_is_fetched_by_pip_and_its_checksum(place, part, monkeypatch, tmp_path):
    """With pip's own settings naming a folder in place of the index."""
    made_up_uv(part, monkeypatch, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    job = place.setup.SetupJob(place.setup.Sources(), online=True)
    assert wait(job) == "failed"  # this uv makes no environment
    assert (place.folder / "uv-9.9.9" / "uv").is_file(), list(job.log)
    assert not any(place.folder.glob("e-*"))


def test_it_needs_permission_a_package_and_room(place, api, monkeypatch, tmp_path):
    with pytest.raises(api.UserError, match="Allow Online Access"):
        place.setup.SetupJob(place.setup.Sources())
    with pytest.raises(api.UserError, match="wheel folder"):
        place.setup.SetupJob(place.setup.Sources(wheels_only=True))
    with pytest.raises(api.UserError, match="does not exist"):
        place.setup.SetupJob(place.setup.Sources(wheel_folder=str(tmp_path / "no"), wheels_only=True))
    with pytest.raises(api.UserError, match="https://") as caught:
        place.setup.SetupJob(place.setup.Sources(package_index="ann:secret@here"), online=True)
    usage = SimpleNamespace(free=10_000_000)
    monkeypatch.setattr(place.setup.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(api.UserError, match="10 MB are free"):
        place.setup.SetupJob(place.setup.Sources(), online=True)
    monkeypatch.setattr(place.module, "REQUIREMENTS", tmp_path / "nothing.txt")
    with pytest.raises(api.UserError, match="Install it again"):
        place.setup.SetupJob(place.sources)
    assert "secret" not in str(caught.value)
    assert list(place.folder.iterdir()) == []


def test_plans_say_sizes_and_times_and_fetch_nothing(part, monkeypatch):
    module = part("install.sources")
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    sizes = {}
    for build in ("cpu", "cu130", "rocm6.4", "xpu"):
        monkeypatch.setenv("UV_TORCH_BACKEND", build)
        plan = module.plan(module.Sources())
        assert (
            plan.download > 250e6 and plan.disk > plan.download and plan.seconds(20) > plan.seconds(100) > 20
        )
        assert all(word in str(plan) for word in ("to download", "on disk", "min at 20 Mbit/s"))
        sizes[plan.build] = plan.download
    assert sizes["cpu"] < 400e6 and min(sizes[build] for build in ("cuda", "rocm", "xpu")) > 1.5e9
    with_video = module.plan(module.Sources(torch="cpu"), ("tracking",))
    assert with_video.download > module.plan(module.Sources(torch="cpu")).download + 100e6


def test_variables_of_the_user_stay_and_those_that_lead_astray_go(part, monkeypatch):
    module = part("install.sources")
    for name, value in {"HTTPS_PROXY": "http://p:1", "SSL_CERT_FILE": "/c", "VIRTUAL_ENV": "/v"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", "/other/add-on")
    environment = module.Sources().environment()
    assert environment["HTTPS_PROXY"] == "http://p:1" and environment["SSL_CERT_FILE"] == "/c"
    assert not {"VIRTUAL_ENV", "PYTHONPATH", "UV_DEFAULT_INDEX", "UV_OFFLINE"} & set(environment)
    chosen = module.Sources("https://index/simple", "/w", True, "http://q:2").environment()
    assert chosen["UV_DEFAULT_INDEX"] == chosen["PIP_INDEX_URL"] == "https://index/simple"
    assert chosen["HTTPS_PROXY"] == "http://q:2" and chosen["UV_FIND_LINKS"] == "/w"
    assert chosen["UV_OFFLINE"] == chosen["UV_NO_INDEX"] == chosen["PIP_NO_INDEX"] == "1"


def test_pytorchs_build_is_uvs_choice_unless_said_otherwise(part, monkeypatch):
    module = part("install.sources")
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    for card in ("cuda", "rocm", "xpu"):  # which of their builds the driver needs is uv's choice
        monkeypatch.setattr(module, "_graphics", lambda card=card: card)
        assert module.Sources().torch_options() == ["--torch-backend=auto"]
    monkeypatch.setattr(module, "_graphics", lambda: "cpu")
    assert (
        module.Sources().torch_options() == ["--torch-backend=cpu"]
        and module.plan(module.Sources()).build == "cpu"
    )
    assert module.Sources(torch="cpu").torch_options() == ["--torch-backend=cpu"]
    index = module.Sources(torch="index")
    assert index.torch_options() == [] and index.torch_is_locked
    assert not module.Sources(torch="index", wheel_folder="/w").torch_is_locked


def test_the_locks_are_of_the_pinned_versions_with_checksums(part, addon):
    module = part("install.environment")
    pinned = dict(
        line.split("==")
        for line in module.REQUIREMENTS.read_text().splitlines()
        if line and not line.startswith("#")
    )
    found = {}
    for path in (module.LOCK, module.TORCH_LOCK, module.TRACKING.lock, module.ALIGNMENT.lock):
        lines = path.read_text().splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line[:1].isalnum():
                name, _, version = line.split(" ")[0].partition("==")
                found.setdefault(name, version)
                assert following.strip().startswith("--hash=sha256:"), line
    assert {name: found.get(name) for name in pinned} == pinned


def test_the_buttons(place, part, monkeypatch, api):
    preferences = part("install.preferences").addon_preferences()
    operators, diagnostics = part("ui.setup.operators"), part("jobs.diagnostics")
    for module in (operators.backend_setup, part("engine.session"), diagnostics):
        for name in ("environments_folder",):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda: place.folder)
    assert not operators.DIFFPOSETALK_OT_setup_backend.poll(bpy.context)
    assert not operators.DIFFPOSETALK_OT_remove_backend.poll(bpy.context)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://ann:secret@index.example/simple")
    preferences.wheel_folder, preferences.wheels_only = str(place.wheels), True
    preferences.uv_program, preferences.backend_python = place.sources.uv, "/some/python"
    try:
        assert bpy.ops.diffposetalk.setup_backend() == {"FINISHED"}
        assert preferences.backend_python == ""
        status = bpy.context.window_manager.diffposetalk_status
        assert "The backend is set up: PyTorch 1.0, device cpu" in status.text and not status.running
        text = diagnostics.describe("It broke")
        for needed in ("Blender " + bpy.app.version_string, "Last error: It broke", "torch 1.0", "Done."):
            assert needed in text, text
        assert "secret" not in text and str(Path.home()) not in text
        assert bpy.ops.diffposetalk.remove_backend() == {"FINISHED"}
        assert place.module.installed_python() is None
    finally:
        for name in ("wheel_folder", "wheels_only", "uv_program", "backend_python"):
            preferences.property_unset(name)


def test_a_folder_of_a_virtual_environment_can_be_named(part, tmp_path, monkeypatch, api):
    session, preferences = part("engine.session"), part("install.preferences").addon_preferences()
    python = part("install.environment").python_in(tmp_path)
    preferences.backend_python = str(tmp_path)
    try:
        with pytest.raises(api.UserError, match="is a folder"):
            session.backend_python()
        python.parent.mkdir()
        python.write_text("")
        assert session.backend_python() == str(python)
    finally:
        preferences.property_unset("backend_python")
