"""Tokens in, models out: tokenizers, models, objectives and one trainer, usable alone from a notebook."""
