# SPDX-License-Identifier: GPL-3.0-or-later
"""What `build_addon.py` stands on; the standard library only, as that script. Imports run one way, in this order:

`errors`, `paths`; `processes` (running programs), `stages` (saying what is done); `environments` (Pythons with locked
packages), `system_libraries`; `package` (the extension's zip), `blender` (which one, and how it runs scripts),
`documentation` (the site), `windows` (Debian folders with real Blenders), `locks` (versions and checksums of all that
is installed); `suites` (all checks).
"""
