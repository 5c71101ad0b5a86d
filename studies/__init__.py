"""Studies beyond the two commands: `python -m studies.NAME`."""

import plumbing.threads  # noqa: F401 - before any study imports torch
