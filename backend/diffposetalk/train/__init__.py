# SPDX-License-Identifier: GPL-3.0-or-later
"""Training: data preparation, style encoder (section 3.3.1), denoiser (section 3.3.2)."""
