"""Files in a bucket of S3, or of what speaks as S3 does.

files ─┬─ reading   a version from first to last, taken up again where it broke
       ├─ writing   one put, or parts that become an object in one step
       └─ link      one client: credentials, deadlines, retries, and errors in our words
"""
