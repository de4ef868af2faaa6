"""Which agent may run what, which of them should, and the obstacle that is named."""

from dataclasses import replace

import pytest

from controlplane.domain.job import Requirement
from controlplane.domain.matching import Obstacle, Offer, can_run, explain

NEED = Requirement("default", "process", {"gpu": "yes", "zone": "a"})
OFFER = Offer("one", frozenset({"default"}), frozenset({"process"}), {"gpu": "yes", "zone": "a", "os": "x"}, 4, 4)


def test_labels_of_the_work_must_be_among_those_of_the_agent() -> None:
    assert can_run(OFFER, NEED)
    assert can_run(OFFER, replace(NEED, labels={}))
    assert not can_run(replace(OFFER, labels={"gpu": "yes"}), NEED)
    assert not can_run(replace(OFFER, labels={"gpu": "yes", "zone": "b"}), NEED)


def test_an_agent_runs_only_its_executors_for_the_namespaces_that_it_serves() -> None:
    assert not can_run(replace(OFFER, executors=frozenset({"wasm"})), NEED)
    assert not can_run(replace(OFFER, serves=frozenset({"other"})), NEED)


@pytest.mark.parametrize(
    ("offers", "obstacle", "nearest"),
    [
        ([], Obstacle.NO_AGENT, ""),
        ([replace(OFFER, serves=frozenset({"other"}))], Obstacle.NO_AGENT, ""),
        ([replace(OFFER, draining=True)], Obstacle.NO_AGENT, ""),
        ([replace(OFFER, executors=frozenset({"wasm"}))], Obstacle.NO_EXECUTOR, "one"),
        (
            [replace(OFFER, agent="far", labels={}), replace(OFFER, agent="near", labels={"gpu": "yes"})],
            Obstacle.NO_MATCHING_LABELS,
            "near",
        ),
        ([replace(OFFER, free=0)], Obstacle.NO_FREE_SLOTS, "one"),
        ([replace(OFFER, agent="full", free=0), OFFER], Obstacle.NONE, "full"),
    ],
)
def test_the_nearest_miss_is_named(offers: list[Offer], obstacle: Obstacle, nearest: str) -> None:
    verdict = explain(NEED, offers)
    assert (verdict.obstacle, verdict.nearest) == (obstacle, nearest)


def test_missing_labels_are_named_with_the_values_that_they_should_have() -> None:
    verdict = explain(NEED, [replace(OFFER, labels={"gpu": "yes", "zone": "b"})])
    assert verdict.missing == {"zone": "a"}


def test_equal_demands_have_one_digest_whatever_the_order_of_their_labels() -> None:
    turned = replace(NEED, labels=dict(reversed(list(NEED.labels.items()))))
    assert turned.digest() == NEED.digest()
    assert replace(NEED, executor="wasm").digest() != NEED.digest()
