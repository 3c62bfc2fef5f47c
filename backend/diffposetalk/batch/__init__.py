# SPDX-License-Identifier: GPL-3.0-or-later
"""Many recordings at once: manifests, what of them is done already, one machine's run, and a Ray cluster's."""
