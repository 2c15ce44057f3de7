"""How a model is examined: kinds of exam, who sits them, and what it may have read before."""
