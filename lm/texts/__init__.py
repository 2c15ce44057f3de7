"""Models as their users see them: one file for each family, opened by `lm.text_model`."""
