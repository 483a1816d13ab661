"""A whole run on one machine: tasks, workers, the journal, shards."""
