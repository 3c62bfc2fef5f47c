# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads: skinning, regions of the face, rendering, and one head's expression basis in another's."""
