"""Programs around the project; each says in its first lines what it does."""
