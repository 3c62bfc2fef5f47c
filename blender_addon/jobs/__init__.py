# SPDX-License-Identifier: GPL-3.0-or-later
"""What a button or a script asks for, from its settings to keys: takes, ranges, dialogue, styles, exports."""
