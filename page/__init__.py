"""The page where a model finishes your drawing: `export` puts it together from the browser's files."""
