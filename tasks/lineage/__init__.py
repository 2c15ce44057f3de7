"""The ways between a document and a model: from manifests, both ways."""
