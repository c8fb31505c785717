"""What Millrace is measured against: each by its own documentation, at its best setting for the same guarantee."""
