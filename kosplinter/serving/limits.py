"""What a server takes, and the one way in which it says no."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one request: bytes of its body, questions, characters of all documents of all its questions; and of all that
    wait for their answers: requests, characters.
    """

    max_body_bytes: int = 4_000_000
    max_questions: int = 256
    max_characters: int = 500_000
    max_waiting: int = 512
    max_waiting_characters: int = 50_000_000


class Refusal(Exception):
    """A request that is not answered: an HTTP status, and one line that names the field."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status, self.line = status, line
