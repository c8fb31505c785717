"""The tree of errors; the mark on each branch decides what becomes of a message.

    MillraceError
    ├── Transient            the same input can succeed later: it is tried again
    │   ├── Unavailable      a dependency is down: its breaker opens, no attempt is used up
    │   └── Blocked          the message is well, and someone has to do something first: it waits, and is not buried
    ├── Permanent            the same input can never succeed: it is buried at once
    │   ├── Undecodable      the bytes are not what the route's contract says
    │   ├── BadInput         the input was understood and is wrong; carries every fault found
    │   ├── Conflict         an instruction does not fit the present state (say, retrying a running job)
    │   ├── NotFound         nothing has this name or id
    │   ├── Failed           a job did its work, and what that came to is a failure; carries the result
    │   └── Faults           settings, arguments or declarations are wrong; carries every fault found
    └── LeaseLost            another worker owns this work now: roll back, write nothing more

An error that a handler raises and that is not in this tree counts as transient: it is retried and, when the
attempts are used up, buried with its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class MillraceError(Exception):
    """The root: its text says what came, what is allowed and what to do."""


class Transient(MillraceError):
    """The same input can succeed later."""


class Unavailable(Transient):
    """A dependency does not answer; `dependency` names it, `why` is the rest of the text."""

    def __init__(self, dependency: str, why: str) -> None:
        super().__init__(f"{dependency} is not available: {why}")
        self.dependency = dependency
        self.why = why


class Blocked(Transient):
    """Nothing is wrong with the message, and it can't be handled before someone has done what the text says. It is
    tried again now and then, uses up no attempt, and what follows it in its lane waits as well."""


class Permanent(MillraceError):
    """The same input can never succeed."""


class Undecodable(Permanent):
    """The bytes of a message do not fit the contract of its route."""


class BadInput(Permanent):
    """The input is wrong; `faults` has a line for each thing that is."""

    def __init__(self, faults: Sequence[str] | str) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class LeaseLost(MillraceError):
    """Another worker owns this work now: its transaction was rolled back."""


class Conflict(Permanent):
    """The instruction does not fit the present state."""


class NotFound(Permanent):
    """Nothing has this name or id."""


class Failed(Permanent):
    """A job did its work, and what that came to is a failure: the job fails, and `result` is kept with it. To retry it
    is to do the work again: its checkpoint is dropped."""

    def __init__(self, why: str, result: Any) -> None:
        super().__init__(why)
        self.result = result


class Faults(Permanent):
    """Settings, arguments or declarations are wrong; `faults` has them all, nothing was started."""

    def __init__(self, subject: str, faults: Sequence[str]) -> None:
        self.subject = subject
        self.faults = list(faults)
        super().__init__("\n".join([f"{subject}:", *(f"  - {fault}" for fault in self.faults)]))


class Gathered:
    """What is wrong with any of several things, told at once.

    gathered = Gathered("resources")
    for name in names:
        with gathered.one():
            declare(catalog.resource(name))
    gathered.tell()
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.faults: list[str] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """The block goes by one of them; what it raises of `Faults` and `NotFound` ends it and is kept."""
        try:
            yield
        except Faults as error:
            self.faults += error.faults
        except NotFound as error:
            self.faults.append(str(error))

    def tell(self) -> None:
        """Raises `Faults` where anything was wrong."""
        if self.faults:
            raise Faults(self._subject, self.faults)
