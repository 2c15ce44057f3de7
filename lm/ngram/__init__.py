"""The statistical n-gram model: counting, smoothing, storing and asking."""
