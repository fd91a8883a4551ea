"""Makes of a model file what a variant of a runtime reads."""
