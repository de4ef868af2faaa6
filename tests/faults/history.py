"""What a database says after a fault, read by plain SQL: the promises as questions with empty answers.

Knows the tables and nothing of the code that writes them.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

import psycopg

SUCCEEDED = 100
FINAL = "(40, 90, 99, 100)"

PROMISES = {
    "a task has not ended": f"SELECT id, status FROM sched_task WHERE status NOT IN {FINAL}",
    "an instance is open": "SELECT task_id, status FROM sched_task_instance WHERE status IN (5, 10)",
    "an ended task waits to be placed": "SELECT task_id FROM sched_ready",
    "an ended task waits for a time": "SELECT task_id FROM sched_timer",
    "a placement's token is not its own": (
        "SELECT task_id, token FROM sched_task_instance GROUP BY task_id, token HAVING count(*) > 1"
    ),
    "a placement's id is not its own": "SELECT id FROM sched_task_instance GROUP BY id HAVING count(*) > 1",
    "tokens have gaps, or the task's is not the newest": (
        "SELECT t.id, t.token, count(*), max(i.token) FROM sched_task t JOIN sched_task_instance i ON i.task_id = t.id"
        " GROUP BY t.id, t.token HAVING t.token <> max(i.token) OR t.token <> count(*)"
    ),
    "a task succeeded twice": (
        "SELECT task_id FROM sched_task_instance WHERE status = 100 GROUP BY task_id HAVING count(*) > 1"
    ),
    "an epoch has two outcomes, or work after its outcome": (
        "SELECT a.task_id, a.epoch, a.token, b.token FROM sched_task_instance a JOIN sched_task_instance b"
        " ON b.task_id = a.task_id AND b.epoch = a.epoch AND b.token > a.token"
        " WHERE a.status = 100 OR (a.status = 99 AND a.error_code = 'CANCELLED')"
    ),
    "two placements of a task were open at once": (
        "SELECT a.task_id, a.token, b.token FROM sched_task_instance a JOIN sched_task_instance b"
        " ON b.task_id = a.task_id AND b.token > a.token WHERE a.finished_at IS NULL OR b.created_at < a.finished_at"
    ),
    "attempts have gaps, or the task's is not the newest": (
        "SELECT t.id, t.attempt, count(DISTINCT i.attempt), max(i.attempt) FROM sched_task t"
        " JOIN sched_task_instance i ON i.task_id = t.id AND i.epoch = t.epoch"
        " GROUP BY t.id, t.attempt HAVING t.attempt <> max(i.attempt) OR t.attempt <> count(DISTINCT i.attempt)"
    ),
    "a task and its instances disagree": (
        "SELECT t.id FROM sched_task t WHERE (t.status = 100) <> EXISTS"
        " (SELECT 1 FROM sched_task_instance i WHERE i.task_id = t.id AND i.status = 100)"
    ),
    "an instance is without its task": (
        "SELECT i.id FROM sched_task_instance i LEFT JOIN sched_task t ON t.id = i.task_id WHERE t.id IS NULL"
    ),
    "a task is without its data": (
        "SELECT t.id FROM sched_task t LEFT JOIN sched_task_data d ON d.task_id = t.id WHERE d.task_id IS NULL"
    ),
    "a task ended before its instance": (
        "SELECT t.id FROM sched_task t JOIN sched_task_instance i ON i.task_id = t.id AND i.token = t.token"
        " WHERE t.status = 100 AND (i.status <> 100 OR t.finished_at < i.created_at)"
    ),
}


def ask(database_url: str, question: str) -> Sequence[Sequence[Any]]:
    """The rows of a question."""
    if database_url.startswith("sqlite:///"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=10)
        try:
            return connection.execute(question).fetchall()
        finally:
            connection.close()
    with psycopg.connect(database_url) as asking:
        return asking.execute(question.encode()).fetchall()


def one(database_url: str, question: str) -> int:
    """The single number of a question."""
    found: int = ask(database_url, question)[0][0]
    return found


def succeeded(database_url: str) -> int:
    """How many tasks have."""
    return one(database_url, f"SELECT count(*) FROM sched_task WHERE status = {SUCCEEDED}")


def broken_promises(database_url: str) -> dict[str, Sequence[Sequence[Any]]]:
    """Every promise that does not hold, with the first rows that show it."""
    broken = {what: rows[:5] for what, question in PROMISES.items() if (rows := ask(database_url, question))}
    if database_url.startswith("sqlite:///"):
        # Looks at every page, index and CHECK.
        told = ask(database_url, "PRAGMA integrity_check")
        if [tuple(row) for row in told] != [("ok",)]:
            broken["the file is whole"] = told
    return broken
