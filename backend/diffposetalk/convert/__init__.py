# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the paper's release and of FLAME, turned into this project's formats."""
