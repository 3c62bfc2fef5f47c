# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's tests run in the installed extension."""

from support.installed_addon import (  # noqa: F401 - fixtures and hooks
    addon,
    addon_zip,
    api,
    backend_python,
    empty_file,
    flame_like_head,
    gate,
    head_path,
    model_vertices,
    part,
    pytest_collection_modifyitems,
    pytest_sessionfinish,
    pytest_unconfigure,
    real_backend,
    recordings,
    synthetic_head,
)
