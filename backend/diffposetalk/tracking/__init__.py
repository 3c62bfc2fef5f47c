# SPDX-License-Identifier: GPL-3.0-or-later
"""Face motion out of video: reading frames, finding the face, and making clean ARKit motion of what was found."""
