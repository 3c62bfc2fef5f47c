# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from and written to disk, whole and within limits: arrays, pictures, pickles of others."""
