"""What the project's own pages and checks are made by."""
