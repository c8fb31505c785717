"""What the handlers of one server share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import Unavailable
from contracts.ports import Ledger, Log
from runtime.http.accepted import Accepted
from runtime.http.documents import Documents
from runtime.policy.drain import Phase
from runtime.readiness import Readiness

if TYPE_CHECKING:
    from runtime.worker import Worker


class Site:
    """A worker as its HTTP sees it."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.accepted = Accepted()
        self.readiness = Readiness(worker)
        self.documents = Documents(worker)

    @property
    def log(self) -> Log:
        return self.worker.log

    @property
    def phase(self) -> Phase:
        return self.worker.supervisor.phase

    @property
    def ledger(self) -> Ledger:
        """Raises `Unavailable` while it is not open."""
        if self.phase not in (Phase.RUNNING, Phase.DRAINING):
            raise Unavailable("the ledger", f"this worker is {self.phase.name.lower()}")
        return self.worker.adapters.ledger

    def must_take_work(self) -> None:
        """Raises `Unavailable` unless new work may begin here."""
        if self.phase is not Phase.RUNNING:
            raise Unavailable("this worker", f"it is {self.phase.name.lower()}; ask another one, or again later")
