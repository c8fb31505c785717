"""What Redis refuses, in words with what to do."""

from __future__ import annotations

import ssl

from redis.exceptions import AuthenticationError, NoPermissionError


def in_words(error: BaseException) -> str:
    """Of a connection that could not be made, or of a reply; without any secret."""
    said = str(error) or type(error).__name__
    if isinstance(error, NoPermissionError) or "NOPERM" in said or "can't run this command" in said:
        return f"{said}; grant it to this user: docs/security.md has the rules that a worker needs"
    if isinstance(error, AuthenticationError) or said.startswith(("NOAUTH", "WRONGPASS")):
        return f"{said}; check the user and the password of its URL"
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in said:
        return f"{said}; name the authority that signed its certificate, and the server as its certificate does"
    if isinstance(cause, ssl.SSLError) or "SSL" in said:
        return f"{said}; is it a port for TLS, and does it want a certificate of ours?"
    return said
