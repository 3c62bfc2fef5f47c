# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts and Blender's Python console use, as `import diffposetalk`.

    import diffposetalk
    head, rig = diffposetalk.add_head("Ann")
    diffposetalk.generate(head, "//hello.wav", seed=7)

Errors are `diffposetalk.UserError` (something you can put right) and `diffposetalk.BackendError`.
"""

from ..client import BackendError
from ..data.adjustment import Adjustment
from ..data.errors import UserError
from ..jobs.batch import BatchJob, BatchResult
from ..jobs.generation import GenerationJob, Keyed
from ..version import VERSION as __version__
from .files import (
    export_alembic,
    export_fbx,
    export_gltf,
    export_heads,
    export_motion,
    export_usd,
    import_motion,
)
from .heads import add_head, key_motion
from .speaking import batch, generate, generate_dialogue
from .styles import add_style, capture_performance, styles
from .takes import (
    adjust,
    check_lips,
    push_to_nla,
    reduce_keys,
    regenerate,
    show_take,
    step_line,
    takes,
)

__all__ = ["__version__", *(name for name in dir() if not name.startswith("_"))]
