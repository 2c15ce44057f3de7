"""Frozen models of words as what a task learns from: ELMo, word2vec, GloVe and CoVe."""
