# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated motion on the timeline: what a take keeps, how it is keyed, adjusted, layered, shown and rolled back."""
