"""Records as training sees them: files, their validation, tf.data."""
