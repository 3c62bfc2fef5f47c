# SPDX-License-Identifier: GPL-3.0-or-later
"""Array files from elsewhere: what small ones unpack to in Blender's own process."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest


@pytest.fixture(params=[zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def hollow_archive(request, tmp_path):
    """An archive whose directory claims 20 kB of members that unpack to 64 MB each."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (50, 100)})
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", request.param, compresslevel=9) as archive:
        for name in ("exp", "basis", "meta", "thumbnail", "shape"):
            with archive.open(f"{name}.npy", "w") as file:
                file.write(header.getvalue())
                for _ in range(16):
                    file.write(bytes(1 << 22))
        for entry in archive.filelist:
            entry.file_size = 20_128
    return path


def test_what_a_directory_claims_is_not_believed(part, api, hollow_archive):
    tracemalloc.start()
    try:
        for read in (part("data.motion").read_motion, part("data.head_asset").load_head):
            with pytest.raises(api.UserError, match="damaged"):
                read(hollow_archive)
        with pytest.raises(api.UserError):
            part("data.head_asset").load_shape(hollow_archive)
        library = part("data.style_library")
        assert library.read_entry(hollow_archive).problem and library.thumbnail(hollow_archive) == b""
        assert part("jobs.styles").motion_basis(hollow_archive) is None
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_more_than_the_limit_is_not_unpacked(part, tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(1_000_000), b=np.zeros(1_000_000))
    read = part("data.array_file").plain_arrays
    assert set(read(path, None, 17_000_000)) == {"a", "b"}
    with pytest.raises(OverflowError):
        read(path, None, 12_000_000)
    assert set(read(path, ("b",), 12_000_000)) == {"b"}


@pytest.mark.parametrize(
    "array",
    [np.float32(3), np.zeros((0, 5)), np.array("text"), np.asfortranarray(np.arange(12).reshape(3, 4))],
)
def test_arrays_are_as_they_were(part, tmp_path, array):
    np.savez(tmp_path / "a.npz", array=array)
    [read] = part("data.array_file").read_arrays(tmp_path / "a.npz", "motion").values()
    assert read.dtype == array.dtype and read.shape == array.shape and (read == array).all()
    assert read.flags.writeable
    np.save(tmp_path / "b.npy", array)
    assert (part("data.array_file").plain_arrays(tmp_path / "b.npy", ("",), 10_000)[""] == array).all()
