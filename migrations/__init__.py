"""The schema of `millrace`: numbered SQL, up and down, and what runs it."""
