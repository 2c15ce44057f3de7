"""Conversations: written by a template, learned by their answers alone, held with a model."""
