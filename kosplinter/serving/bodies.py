"""The body of POST /answer, checked."""

import json
from dataclasses import dataclass
from typing import Any

from kosplinter.engine.inputs import Request, check_limits, checked_request
from kosplinter.serving.limits import Limits, Refusal
from kosplinter_common.cli import InputError

QUESTION_KEYS = {"question", "document", "documents"}
OPTION_KEYS = {"top_k", "min_probability"}


@dataclass(frozen=True)
class Asked:
    """The questions of a request; `many`: they came as a list, and are answered as one."""

    requests: tuple[Request, ...]
    many: bool
    top_k: int
    min_probability: float | None

    @property
    def characters(self) -> int:
        return sum(len(document) for request in self.requests for document in request.documents)


def asked_of(body: bytes, limits: Limits) -> Asked:
    """Raises Refusal: 400 for what is no JSON object, 422 for a field that cannot be used, by its name."""
    content = _json_of(body)
    if not isinstance(content, dict):
        raise Refusal(400, f"body: found {type(content).__name__}, expected a JSON object")
    many = "questions" in content
    _refuse_unknown(content, OPTION_KEYS | ({"questions"} if many else QUESTION_KEYS), "")
    items = content["questions"] if many else [{key: content[key] for key in QUESTION_KEYS & content.keys()}]
    if not isinstance(items, list) or not items:
        found = "an empty list" if items == [] else type(items).__name__
        raise Refusal(422, f"questions: found {found}, expected a list of objects with question and documents")
    if len(items) > limits.max_questions:
        raise Refusal(422, f"questions: found {len(items)}, expected at most {limits.max_questions}")
    top_k, min_probability = content.get("top_k", 1), content.get("min_probability")
    try:
        check_limits(top_k, min_probability)
        requests = tuple(_request(item, f"questions[{i}]." if many else "") for i, item in enumerate(items))
    except InputError as error:
        raise Refusal(422, str(error)) from error
    asked = Asked(requests, many, top_k, min_probability)
    if asked.characters > limits.max_characters:
        raise Refusal(422, f"documents: found {asked.characters} characters, expected at most {limits.max_characters}")
    return asked


def _json_of(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refusal(400, f"body: not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise Refusal(400, "body: JSON nested too deeply") from error
    except ValueError as error:
        raise Refusal(400, f"body: broken JSON: {error}") from error


def _request(item: Any, place: str) -> Request:
    if not isinstance(item, dict):
        raise InputError(f"{place.rstrip('.')}: found {type(item).__name__}, expected an object")
    _refuse_unknown(item, QUESTION_KEYS, place)
    if "document" in item and "documents" in item:
        raise InputError(f"{place}document: found documents too, expected one of them")
    if "document" in item and not isinstance(item["document"], str):
        raise InputError(f"{place}document: found {type(item['document']).__name__}, expected text")
    return checked_request(item.get("question"), item.get("document", item.get("documents")), place)


def _refuse_unknown(item: dict[str, Any], known: set[str], place: str) -> None:
    unknown = sorted(item.keys() - known)
    if unknown:
        raise Refusal(422, f"{place}{unknown[0]!r}: no such field, expected {', '.join(sorted(known))}")
