"""What scores are made of: feature networks, stroke statistics, references, the official protocol."""
