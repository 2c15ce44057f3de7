"""What users write: YAML files as strict models."""
