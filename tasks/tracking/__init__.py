"""What MLflow hears: journals, the process that sends them, the registry, and models that it serves."""
