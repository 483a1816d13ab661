"""The sample is what its README says: enough of it, held-out articles apart, every answer where it is said to stand."""

import json
import unicodedata
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "sample"


def documents(name: str) -> list[list[str]]:
    text = (SAMPLE / "corpus" / name).read_text(encoding="utf-8")
    assert text == unicodedata.normalize("NFC", text)
    return [block.splitlines() for block in text.strip().split("\n\n")]


def test_documents_are_many_and_have_several_paragraphs() -> None:
    train, held_out = documents("train.txt"), documents("held_out.txt")
    assert (len(train), len(held_out)) == (146, 28)
    assert all(len(document) >= 5 for document in train + held_out)
    titles = [document[0] for document in train + held_out]
    assert len(set(titles)) == len(titles)


def test_questions_stand_on_their_own_articles() -> None:
    ids, counts = set(), {}
    for split, corpus in (("train", "train.txt"), ("dev", "held_out.txt")):
        paragraphs = {paragraph for document in documents(corpus) for paragraph in document}
        data = json.loads((SAMPLE / "questions" / f"{split}.json").read_text(encoding="utf-8"))["data"]
        pairs = [(p["context"], qa) for article in data for p in article["paragraphs"] for qa in p["qas"]]
        for context, qa in pairs:
            (answer,) = qa["answers"]
            start = answer["answer_start"]
            assert context in paragraphs
            assert context[start : start + len(answer["text"])] == answer["text"]
            assert qa["question"].endswith("?")
        ids.update(qa["id"] for _, qa in pairs)
        counts[split] = len(pairs)
    assert counts == {"train": 362, "dev": 68} and len(ids) == 430
