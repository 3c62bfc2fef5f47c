# SPDX-License-Identifier: GPL-3.0-or-later
"""What several suites share: fixtures, clients, made files, small models."""
