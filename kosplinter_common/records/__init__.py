"""What data generation writes and pretraining reads: the schema, TFRecord files, dataset.json."""
