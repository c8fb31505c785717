"""`deploy/image/locked.py`: the part of the lock that an image is made of."""

from __future__ import annotations

import pytest

from deploy.image import locked

LOCK = """\
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
Some_Thing==1.0 \\
    --hash=sha256:dd
"""


def test_entries_are_taken_whole_and_in_the_version_that_is_wanted() -> None:
    assert list(locked.picked(LOCK, ["numpy==2.5.5", "# a comment", "some-thing==1.0"])) == [
        "numpy==2.5.5 ; python_full_version >= '3.12' \\\n    --hash=sha256:cc",
        "Some_Thing==1.0 \\\n    --hash=sha256:dd",
    ]


def test_what_is_not_locked_is_refused() -> None:
    with pytest.raises(KeyError, match=r"numpy==9\.9"):
        list(locked.picked(LOCK, ["numpy==9.9"]))
