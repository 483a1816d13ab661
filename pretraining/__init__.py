"""Span-selection pretraining with TPUEstimator (tf.compat.v1)."""
