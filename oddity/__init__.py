"""Is a drawing what it claims to be: scores of oddness, how they are measured, thresholds, reasons and pictures."""
