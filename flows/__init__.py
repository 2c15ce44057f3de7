"""What runs, when and in which order: Prefect flows and the command line, no algorithms."""
