# SPDX-License-Identifier: GPL-3.0-or-later
"""What the features share: jobs with their progress, panels' layout, the last reference, languages."""

from . import job_operator, job_status, reference, translation
from .feature import feature

register, unregister = feature(job_status, job_operator, reference, translation)
