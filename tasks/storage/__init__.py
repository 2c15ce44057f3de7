"""Where artifacts are: complete or absent, here and on a store that several machines share."""
