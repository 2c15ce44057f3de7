"""The servers and workers of an installation: started, asked, backed up, stopped."""
