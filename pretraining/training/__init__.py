"""A run: the step, Estimators, hooks, logs, checkpoints, resume."""
