"""One resumable stage per file: a library call, an artifact and its tracking."""
