"""The Files port: `local` on a disk, `s3` in a bucket (MinIO is one of those)."""
