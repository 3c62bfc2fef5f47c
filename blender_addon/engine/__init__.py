# SPDX-License-Identifier: GPL-3.0-or-later
"""The one warm backend process, and the course of every job that asks it for something."""
