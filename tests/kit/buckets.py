"""Buckets of one test, and what is in them that no list shows."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.session import get_session

from adapters.files.s3.bucket import Bucket
from contracts.ports.secrets import Secret, fixed
from tests.kit.services import Running


@asynccontextmanager
async def fresh_bucket(server: Running) -> AsyncIterator[Bucket]:
    """An empty one; gone after the block, with what is in it."""
    bucket = bucket_at(server.url, f"kit-{secrets.token_hex(6)}")
    async with _client(bucket) as s3:
        await s3.create_bucket(Bucket=bucket.name)
        try:
            yield bucket
        finally:
            async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket.name):
                if some := [{"Key": entry["Key"]} for entry in page.get("Contents", ())]:
                    await s3.delete_objects(Bucket=bucket.name, Delete={"Objects": some})
            await s3.delete_bucket(Bucket=bucket.name)


def bucket_at(url: str, name: str) -> Bucket:
    """The bucket `name` of the service with that URL."""
    parts = urlsplit(url)
    return Bucket(
        name=name,
        endpoint=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        region="us-east-1",
        access_key=fixed(Secret(parts.username or "")),
        secret_key=fixed(Secret(parts.password or "")),
        path_style=True,
    )


async def uploads(bucket: Bucket, *keys: str) -> list[str]:
    """The keys, of these, of uploads that are neither complete nor aborted. MinIO tells of one key at a time."""
    found: list[str] = []
    async with _client(bucket) as s3:
        for key in keys:
            answer: dict[str, Any] = await s3.list_multipart_uploads(Bucket=bucket.name, Prefix=key)
            found += [upload["Key"] for upload in answer.get("Uploads", ())]
    return found


@asynccontextmanager
async def _client(bucket: Bucket) -> AsyncIterator[Any]:
    access_key, secret_key = await keys_of(bucket)
    made = get_session().create_client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )
    async with made as client:
        yield client


async def keys_of(bucket: Bucket) -> tuple[str, str]:
    """The access key and its secret."""
    assert bucket.access_key is not None
    assert bucket.secret_key is not None
    return (await bucket.access_key()).reveal(), (await bucket.secret_key()).reveal()
