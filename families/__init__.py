"""Families of generative models on the same drawings: one file each, one interface, one training loop."""
