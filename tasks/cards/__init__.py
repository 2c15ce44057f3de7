"""What stands on a model's card."""
