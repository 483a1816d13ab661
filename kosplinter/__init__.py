"""Answers from texts, in a few lines: the library and the command `kosplinter`, on top of everything else here."""

from kosplinter.answering.answerer import QuestionAnswerer
from kosplinter.engine.answer import Answer
from kosplinter_common.cli import InputError

__all__ = ["Answer", "InputError", "QuestionAnswerer"]
