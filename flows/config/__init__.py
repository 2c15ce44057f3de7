"""What users write: YAML files as strict models. The shipped files are in configs/, in a wheel in flows/configs/."""
