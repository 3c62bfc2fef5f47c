# SPDX-License-Identifier: GPL-3.0-or-later
"""How the bundled model was made: its corpora, a teacher from phones, performances."""
