"""Makes bundles: a model with its libraries and its own modules, in one zip."""
