"""Checkpoints that a run keeps for ever."""

import time

import tensorflow as tf

from pretraining.training import checkpoints


class KeepMilestones(tf.compat.v1.train.CheckpointSaverListener):
    """Takes milestones from the saver's list of what it will delete, before each save.

    A milestone is the first checkpoint at or after each multiple of `every`: a run that goes on from step 137 saves
    100 steps after it, not at 200. What is on the disk tells which those are, so that no restart loses one.
    """

    def __init__(self, folder: str, every: int) -> None:
        self._folder = folder
        self._every = every

    def before_save(self, session: tf.compat.v1.Session, global_step_value: int) -> None:
        milestones = milestones_of(checkpoints.steps_in(self._folder), self._every)
        now = time.time()  # of no consequence: the saver keeps none by its age
        for saver in session.graph.get_collection(tf.compat.v1.GraphKeys.SAVERS):
            others = [path for path in saver.last_checkpoints if checkpoints.step_of(path) not in milestones]
            saver.set_last_checkpoints_with_time([(path, now) for path in others])


def milestones_of(steps: list[int], every: int) -> set[int]:
    """The first of `steps` (ascending) from each multiple of `every` on to the next, 0 left out."""
    first: dict[int, int] = {}
    for step in steps:
        first.setdefault(step // every, step)
    return {step for number, step in first.items() if number}
