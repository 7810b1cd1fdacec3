"""Pictures: the border between files and numbers."""
