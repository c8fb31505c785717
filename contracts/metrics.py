"""Every metric, declared once: adapters and runtime name it by its value, documents and dashboards are checked
against this list. A name ends in its unit, or in `_total` for what is counted."""

from __future__ import annotations

from contracts.ports.metrics import Metric

_SHORT_MS = (0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30000)

# The process.

STARTUP_TIME = Metric(
    name="platform_module_startup_time_ms",
    kind="gauge",
    help="From the making of the worker to the moment at which the module's routes took messages.",
    labels=("module",),
)
UPTIME = Metric(
    name="platform_module_uptime_seconds",
    kind="gauge",
    help="How long the module has been taking messages.",
    labels=("module",),
)
DRAIN_PHASE = Metric(
    name="platform_drain_phase",
    kind="gauge",
    help="Where the process is in its life: 0 starting, 1 running, 2 draining, 3 closing, 4 closed.",
)

# Adapters.

DB_QUERY_DURATION = Metric(
    name="platform_db_query_duration_ms",
    kind="histogram",
    help="How long a statement on the database took, its wait for the server included.",
    labels=("operation",),
    buckets=_SHORT_MS,
)
CACHE_HIT_RATE = Metric(
    name="platform_cache_hit_rate",
    kind="gauge",
    help="The share of the cache's lookups since the start that found their key, from 0 to 1.",
)
CACHE_FALL_THROUGHS = Metric(
    name="platform_cache_fall_throughs_total",
    kind="counter",
    help="Calls that went on without the cache, because it did not answer or was full.",
)

# Messages.

MESSAGES_PROCESSED = Metric(
    name="platform_mq_messages_processed_total",
    kind="counter",
    help="Attempts that ended, by route and by what became of them: done, retry, dead, cancelled, release;"
    " repeated is what was found to be finished already.",
    labels=("address", "outcome"),
)
PROCESSING_DURATION = Metric(
    name="platform_mq_processing_duration_ms",
    kind="histogram",
    help="How long one call of a handler took: a message, a batch of them, or one run of a job.",
    labels=("address",),
    buckets=(*_SHORT_MS, 60_000, 300_000, 1_800_000, 3_600_000),
)
LANE_DEPTH = Metric(
    name="platform_lane_depth",
    kind="gauge",
    help="Messages that were fetched and wait in their lanes, by route.",
    labels=("address",),
)
RETRIES = Metric(
    name="platform_retries_total",
    kind="counter",
    help="Attempts that failed and will be made again, by route.",
    labels=("address",),
)
DEAD_LETTERS = Metric(
    name="platform_dead_letters_total",
    kind="counter",
    help="Messages that were buried, by route and reason.",
    labels=("address", "reason"),
)

BLOCKED = Metric(
    name="platform_blocked_total",
    kind="counter",
    help="Attempts that could not be made because someone has to do something first (the log says what), by route.",
    labels=("address",),
)
PARKED = Metric(
    name="platform_parked_total",
    kind="counter",
    help="Messages that were put aside in the ledger: for a later attempt, for their hour, or behind one of their key.",
    labels=("address",),
)
BACKLOG = Metric(
    name="platform_backlog",
    kind="gauge",
    help="For autoscaling: messages of this worker's partitions that are not finished, in flight or still on the bus,"
    " by route; the sum over all workers is the route's.",
    labels=("address", "group"),
)

# Jobs.

JOBS = Metric(
    name="platform_jobs",
    kind="gauge",
    help="Jobs in the ledger by route and state, as one of its workers last counted them.",
    labels=("address", "state"),
)
JOBS_IN_FLIGHT = Metric(
    name="platform_jobs_in_flight",
    kind="gauge",
    help="Jobs that run in this process, by route.",
    labels=("address",),
)

# Supervision.

BREAKER_OPEN = Metric(
    name="platform_breaker_open",
    kind="gauge",
    help="1 while a dependency is taken to be down, and the routes that need it wait for it; else 0.",
    labels=("dependency",),
)
HANDLER_STALLS = Metric(
    name="platform_handler_stalls_total",
    kind="counter",
    help="Handlers that made no progress for their route's limit, by route.",
    labels=("address",),
)
LOOP_STALLS = Metric(
    name="platform_loop_stalls_total",
    kind="counter",
    help="How often something blocked the event loop, and with it the whole process.",
)
LOOP_CRASHES = Metric(
    name="platform_loop_crashes_total",
    kind="counter",
    help="Crashes of the process's own loops, each of which was started again within the budget.",
    labels=("loop",),
)

# The outbox.

OUTBOX_MESSAGES = Metric(
    name="platform_outbox_messages",
    kind="gauge",
    help="Messages that were emitted and that the bus has not confirmed yet, as this worker last counted them.",
)
OUTBOX_SENT = Metric(
    name="platform_outbox_sent_total",
    kind="counter",
    help="Emitted messages that this worker sent and the bus confirmed.",
)

ALL: tuple[Metric, ...] = tuple(declared for declared in list(globals().values()) if isinstance(declared, Metric))
"""Each of the above, in their order. It stands last: what is declared below it is not seen."""
