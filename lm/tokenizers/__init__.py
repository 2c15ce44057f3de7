"""One small file per kind of tokenizer; `lm.tokenizer` trains, stores and loads them all."""
