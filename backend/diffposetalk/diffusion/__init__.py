# SPDX-License-Identifier: GPL-3.0-or-later
"""The diffusion process: noise schedule, samplers, guidance, joins of windows, in-painting."""
