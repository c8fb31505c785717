"""The Files port: `local` on a disk; buckets are to come."""
