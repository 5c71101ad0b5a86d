"""Results as tables, pictures, a report page and a model card."""
