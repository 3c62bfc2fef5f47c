# SPDX-License-Identifier: GPL-3.0-or-later
"""The version, which the add-on's manifest and the backend's project file repeat."""

VERSION = "0.1.0"
