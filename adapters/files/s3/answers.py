"""What S3 and the way to it say, in our words."""

from __future__ import annotations

from typing import Any

from adapters.files.s3.bucket import Bucket
from contracts.errors import BadInput, Unavailable

MISSING = (404,)
UNMET = (412,)
AT_ONCE = (409,)
PAST_THE_END = (416,)
_JUDGED = (*MISSING, *UNMET, *AT_ONCE, *PAST_THE_END)

_REMEDIES = {
    "NoSuchBucket": "there is no such bucket: make it, or set FS_S3_BUCKET to one that there is",
    "AccessDenied": "these credentials may not do that: give them the right to, and look at the bucket's policy",
    "403": "these credentials may not do that: give them the right to, and look at the bucket's policy",
    "InvalidAccessKeyId": "the access key is unknown there: see FS_S3_ACCESS_KEY, or the usual chain's",
    "SignatureDoesNotMatch": "the secret key is not that of the access key: see FS_S3_SECRET_KEY",
    "ExpiredToken": "the session's token has expired: renew the credentials",
    "InvalidToken": "the session's token is not valid: renew the credentials",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set FS_S3_REGION",
    "PermanentRedirect": "the bucket is in another region: set FS_S3_REGION",
    "301": "the bucket is in another region: set FS_S3_REGION",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it by NTP",
    "InvalidEncryptionAlgorithmError": "the server can't encrypt so: see FS_S3_SSE",
    "NotImplemented": "the server can't do that: with FS_S3_SSE set it may be the encryption",
}
"""What somebody has to do, by S3's code: the input is not at fault, so it waits and is not buried."""


class Declined(Exception):
    """An answer that is no fault to its caller, who knows what it means: nothing there, a condition not met."""

    def __init__(self, status: int, code: str, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.code = code


def translated(error: Exception, operation: str, bucket: Bucket, key: str | None) -> Exception:
    """The error to raise in its place; one that is not of S3 stays what it is."""
    from aiohttp import ClientError as ConnectionFault
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    place = bucket.address if key is None else f"{bucket.address}, {key}"
    if isinstance(error, ClientError):
        return _answered(error.response, operation, place, bucket)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return Unavailable(
            "files",
            f"{bucket.address}: {error}; set FS_S3_ACCESS_KEY and FS_S3_SECRET_KEY, or give it a role or a profile",
        )
    if isinstance(error, TimeoutError):
        return Unavailable("files", f"{place}: no answer to {operation} in time")
    if isinstance(error, HTTPClientError | ConnectionFault | OSError):
        return Unavailable("files", f"{place}: {_first_line(error)}")
    if isinstance(error, BotoCoreError):
        return Unavailable("files", f"{place}: {_first_line(error)}; see the settings FS_S3_…")
    return error


def _answered(response: dict[str, Any], operation: str, place: str, bucket: Bucket) -> Exception:
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = response.get("Error", {})
    code, message = str(said.get("Code", status)), str(said.get("Message", ""))
    if remedy := _REMEDIES.get(code):
        return Unavailable("files", f"{place}: {operation} was refused ({code}): {remedy}")
    if status in _JUDGED:
        return Declined(status, code, f"{place}: {code} {message}")
    if status >= 500 or status in (0, 400, 401, 403, 429) or code.startswith("KMS"):
        return Unavailable("files", f"{place}: {operation} failed ({code}): {message or 'the server does not say why'}")
    return BadInput(f"{place}: {bucket.name} refuses {operation} ({code}): {message}")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
