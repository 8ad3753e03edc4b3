"""What survives a restart: a journal that is on disk before a client is told so, folded into SQLite behind its back."""
