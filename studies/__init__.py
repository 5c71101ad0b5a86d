"""Studies beside the models: run one as `python -m studies.NAME`."""
