"""Checkpoint conversion: names, dialects, streaming, verification. Google BERT's TensorFlow names are the pivot."""
