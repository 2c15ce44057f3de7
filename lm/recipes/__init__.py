"""How each kind of model is pretrained: one recipe per file."""
