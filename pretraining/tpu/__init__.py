"""The compiled step of one TPU core, and what it costs."""
