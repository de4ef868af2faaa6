"""Lists of any noun: a question in the caller's words becomes one page of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.domain.filter import AnyOf, Queryable, parse_filter, parse_order
from controlplane.domain.page import PageRequest, query_digest
from controlplane.store import Connection, query
from controlplane.store.query import Listing, Page


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller wants to see: decoded JSON for the filter, or one that was read already, the words of the order, a
    parsed page request.
    """

    namespace_id: str
    filter: object
    order_by: Sequence[str]
    page: PageRequest


def ask(
    connection: Connection,
    noun: Queryable,
    listing: Listing,
    question: Question,
    default_order: Sequence[str] = ("-created_at",),
) -> Page:
    """One page. Raises Invalid that names the place in the filter, the order or the page."""
    tree = question.filter if isinstance(question.filter, AnyOf) else parse_filter(question.filter, noun)
    order = parse_order(question.order_by, noun, default_order)
    digest = query_digest(question.namespace_id, noun.noun, tree, order)
    return query.page(connection, listing, tree, order, question.page, query=digest)
