# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of the paper, the model made of them, its files, and the device that it runs on."""
