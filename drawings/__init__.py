"""Drawings as packed arrays: their official files, simplification, stand-ins and training batches."""
