# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech encoders: Whisper for the bundled model, HuBERT for the released ones."""
