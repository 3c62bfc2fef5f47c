# SPDX-License-Identifier: GPL-3.0-or-later
"""From speech to motion: windows of many recordings side by side, ranges made again, drafts."""
