# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion clips, their channels, and smoothing; `formats` reads and writes what other tools use."""
