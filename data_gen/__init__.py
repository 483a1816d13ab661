"""Raw text to TFRecords of masked recurring spans. Needs no TensorFlow."""
