"""A PostgreSQL cluster of our own: its places, its owner, its making, starting and ending. Blocking code."""
