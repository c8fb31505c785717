"""The bucket of `--fs s3` and of `--fs minio`, as the settings say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from adapters.files.s3.bucket import Bucket
from contracts.ports.secrets import Credential

if TYPE_CHECKING:
    from runtime.settings import Settings


def bucket_of(chosen: Settings, credential: Callable[[str], Credential]) -> Bucket:
    """MinIO is S3 at an address of its own, with the bucket in the path. `credential` looks a setting up by name."""
    minio = chosen.fs == "minio"
    endpoint = chosen.fs_minio_endpoint if minio else chosen.fs_s3_endpoint
    keys = "fs_minio" if minio and chosen.fs_minio_access_key is not None else "fs_s3"
    given = getattr(chosen, f"{keys}_access_key") is not None
    assert chosen.fs_s3_bucket is not None  # the settings were checked together
    return Bucket(
        name=chosen.fs_s3_bucket,
        prefix=chosen.fs_s3_prefix,
        endpoint=endpoint.reveal() if endpoint else None,
        region=chosen.fs_s3_region,
        access_key=credential(f"{keys}_access_key") if given else None,
        secret_key=credential(f"{keys}_secret_key") if given else None,
        path_style=minio or chosen.fs_s3_path_style,
        encryption=chosen.fs_s3_sse,
        kms_key=chosen.fs_s3_kms_key,
        timeout_s=chosen.fs_s3_timeout_s,
        attempts=chosen.fs_s3_attempts,
    )
