"""Studies beyond the assignment's story, each a notebook that runs on its own, and what all notebooks share."""
