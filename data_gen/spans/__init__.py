"""Recurring spans: clusters, the rules of what is a span, and what was used before."""

from data_gen.spans.clusters import recurring_span_clusters

__all__ = ["recurring_span_clusters"]
