"""The Database port on PostgreSQL: by a URL, or on a server of our own from a wheel."""
