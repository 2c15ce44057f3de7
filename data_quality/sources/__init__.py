"""Readers: one module per format, each a generator over the records of one file."""
