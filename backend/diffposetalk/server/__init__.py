# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend process: JSON-RPC over standard input and output, and the methods by subject."""
