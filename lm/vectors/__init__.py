"""Static word vectors: word2vec and GloVe."""
