"""`kosplinter answer`: single questions, files in every layout, streams, resumption, bad rows."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kosplinter import InputError, QuestionAnswerer
from kosplinter.__main__ import main
from kosplinter.commands import answer_files
from kosplinter.commands.answer_files import answer_stream
from kosplinter.commands.rows import Row, as_they_come
from tests.finetuning.tiny_qa import CITIES, PEOPLE
from tests.kosplinter.conftest import qass_without_question_token

ROOT = Path(__file__).resolve().parents[3]


def sentence(i: int) -> str:
    return f"{PEOPLE[i]}은 {CITIES[i]}에서 태어났다."


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_question_asked_of_files(taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("\ufeff" + sentence(3), encoding="utf-8")
    (tmp_path / "b.txt").write_text("날마다 강가를 걷는다.", encoding="utf-8")
    command = ["answer", "--model", str(taught), "--top_k", "2", "--question", "누가 태어났는가?"]
    main([*command, "--document", f"{tmp_path}/b.txt", "--document", f"{tmp_path}/a.txt"])
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    qa = QuestionAnswerer.from_pretrained(taught)
    expected = qa.answer("누가 태어났는가?", ["날마다 강가를 걷는다.", sentence(3)], top_k=2)
    assert [answer["text"] for answer in row["answers"]] == [answer.text for answer in expected]
    assert row["answers"][0]["document"] == f"{tmp_path}/a.txt" and row["answers"][0]["text"].startswith(PEOPLE[3])


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.json"])
def test_korquad_to_a_file_of_answers(name: str, models: Path, taught: Path, tmp_path: Path) -> None:
    main(f"answer --model {taught} --input {models}/questions.json --output {tmp_path / name}".split())
    qa = QuestionAnswerer.from_pretrained(taught)
    expected = {}
    for article in json.loads((models / "questions.json").read_text(encoding="utf-8"))["data"]:
        for question in article["paragraphs"][0]["qas"]:
            best = qa.answer(question["question"], article["paragraphs"][0]["context"])
            expected[question["id"]] = best.text if best else ""
    content = tmp_path / name
    if name.endswith(".json"):
        assert json.loads(content.read_text(encoding="utf-8")) == expected
    else:
        rows = read_rows(content)
        assert [(row["id"], row["answers"][0]["text"]) for row in rows] == list(expected.items())
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing else is left


def test_a_stopped_run_goes_on_where_it_was(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": i, "question": "누가 태어났는가?", "documents": [sentence(i), sentence(i - 1)]} for i in range(10)]
    write_rows(tmp_path / "in.jsonl", rows)
    command = f"answer --model {taught} --input {tmp_path}/in.jsonl --output".split()
    main([*command, f"{tmp_path}/whole.jsonl"])
    monkeypatch.setattr(answer_files, "ROWS_AT_ONCE", 3)
    answered, asked = answer_files.answered, []

    def stopping(answerer: Any, part: list[Row], *rest: Any) -> list[dict[str, Any]]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append([row.id for row in part])
        return answered(answerer, part, *rest)

    monkeypatch.setattr(answer_files, "answered", stopping)
    with pytest.raises(KeyboardInterrupt):
        main([*command, f"{tmp_path}/out.jsonl"])
    assert not (tmp_path / "out.jsonl").exists()
    with (tmp_path / ".out.jsonl.partial").open("a") as file:
        file.write('{"id": "6", "answ')  # torn off by a kill
    with pytest.raises(InputError, match="begun by another run: found top_k 1, expected 2"):
        main([*command, f"{tmp_path}/out.jsonl", "--top_k", "2"])
    asked.clear()
    monkeypatch.setattr(answer_files, "answered", lambda *rest: asked.append(len(rest[1])) or answered(*rest))
    main([*command, f"{tmp_path}/out.jsonl"])
    assert asked == [3, 1] and "going on behind 6 of 10" in capsys.readouterr().err
    resumed, whole = (
        [(row["id"], row["answers"][0]["text"]) for row in read_rows(tmp_path / name)]
        for name in ("out.jsonl", "whole.jsonl")
    )
    assert resumed == whole and len(whole) == 10
    with pytest.raises(InputError, match="it is there already"):
        main([*command, f"{tmp_path}/out.jsonl"])
    main([*command, f"{tmp_path}/out.jsonl", "--overwrite"])


BAD_ROWS = [
    ({"question": "", "context": "부산"}, "question: found an empty text"),
    ({"question": "누가?"}, "documents: found nothing"),
    ({"question": "누가?", "context": " "}, "document: found nothing but white space"),
    ({"question": "누가?", "documents": ["부산", 3]}, "documents[1]: found int"),
    ({"question": "누가?", "documents": ["부산"], "context": "부산"}, "context: found documents too"),
    ({"question": "누가?", "context": "부산\0"}, "document: found NUL at character 2"),
    ({"question": "누가?", "context": "부산\ud800"}, "document: found half a surrogate pair"),
    ({"id": ["a"], "question": "누가?", "context": "부산"}, "id: found list"),
    (["누가?", "부산"], "found list, expected an object"),
]


def test_bad_rows_are_named_and_the_others_answered(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"id": "good", "question": "누가 태어났는가?", "context": sentence(5)}
    lines = [json.dumps(good), *(json.dumps(row) for row, _ in BAD_ROWS), "{", json.dumps(good | {"id": "last"})]
    data = "\n".join(lines).encode() + b"\n" + '{"question": "\xb4\xa9\xb0\xa1"}'.encode("latin-1")
    (tmp_path / "in.jsonl").write_bytes(data)
    refused = len(BAD_ROWS) + 2
    for output in (None, tmp_path / "out.jsonl"):
        command = f"answer --model {taught} --input {tmp_path}/in.jsonl".split()
        with pytest.raises(
            InputError, match=f"^{refused} of {refused + 2} questions could not be asked; the first: 2: question"
        ):
            main([*command, "--output", str(output)] if output else command)
        printed = capsys.readouterr().out
        rows = read_rows(output) if output else [json.loads(line) for line in printed.splitlines()]
        assert [row["id"] for row in rows if "answers" in row] == ["good", "last"]
        for row, (_, message) in zip(rows[1:], BAD_ROWS, strict=False):
            assert row["error"].startswith(message) and "\n" not in row["error"]
        assert rows[-3]["error"].startswith("line 11: broken JSON")
        assert rows[-1] == {"id": "13", "error": "line 13: not UTF-8 at byte 14"}


def test_a_stream_is_answered_as_it_comes(taught: Path) -> None:
    """The second question is written only after the first was answered: who waits for more would never end."""
    output, answered_first = io.StringIO(), threading.Event()

    class Output(io.StringIO):
        def flush(self) -> None:
            answered_first.set()

    def lines() -> Iterator[bytes]:
        yield json.dumps({"question": "누가 태어났는가?", "context": sentence(0)}).encode()
        assert answered_first.wait(30)
        yield b"\n"
        yield json.dumps({"id": "b", "question": "누가 태어났는가?", "context": sentence(1)}).encode()

    output = Output()
    stream: Any = lines()
    answer_stream(QuestionAnswerer.from_pretrained(taught), None, stream, output, 1, None)
    rows = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [row["id"] for row in rows] == ["1", "b"]
    assert rows[0]["answers"][0]["text"].startswith(PEOPLE[0])


def test_an_error_in_a_stream_is_not_waited_for() -> None:
    def rows() -> Iterator[Row]:
        yield Row("a", None, "x")
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(as_they_come(rows()))


def test_ten_thousand_questions(taught: Path, tmp_path: Path) -> None:
    rows = [{"id": i, "question": "누가 태어났는가?", "context": sentence(i % 16)} for i in range(10_000)]
    write_rows(tmp_path / "in.jsonl", rows)
    main(f"answer --model {taught} --input {tmp_path}/in.jsonl --output {tmp_path}/out.jsonl".split())
    found = read_rows(tmp_path / "out.jsonl")
    assert [row["id"] for row in found] == [str(i) for i in range(10_000)]
    assert len({row["answers"][0]["text"] for row in found[:16]}) > 10
    assert all(row["answers"][0]["text"] == found[i % 16]["answers"][0]["text"] for i, row in enumerate(found))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("answer --question Q", "--document: found nothing"),
        ("answer --document D", "--question: found nothing"),
        ("answer --question Q --document D --input I", "--question: found a file"),
        ("answer --output O", "--output: expected --input"),
        ("answer --input absent.json --output out.txt --model x", "--output: found 'out.txt'"),
        ("answer --input absent.json --output out.json --model x", "absent.json: no such file"),
        ("answer --question Q --document absent.txt --model x", "absent.txt"),
        ("answer --input IN --output OUT.json", "--model or --onnx: found neither"),
        ("answer --input IN --output OUT.json --model a --onnx b", "--model or --onnx: found both"),
        ("answer --input IN --output OUT.json --model TAUGHT --doc_stride 0", "--doc_stride: found 0"),
        ("answer --input IN --output OUT.json --model TAUGHT --threads -1", "--threads: found -1"),
        ("answer --input IN --output OUT.json --model TAUGHT --top_k 0", "top_k: found 0"),
        ("answer --input EMPTY --output OUT.json --model TAUGHT", "the file is empty"),
        ("answer --input CP949 --output OUT.json --model TAUGHT", "not UTF-8"),
        ("fit --questions IN --output_dir OUT", "--model: found neither"),
        ("fit --questions IN --output_dir OUT --model TAUGHT stray", "found 'stray', expected a flag"),
        ("evaluate --questions IN --model absent/folder/here", "no such model folder"),
        ("serve --model TAUGHT --max_questions 0", "--max_questions: found 0"),
    ],
)
def test_commands_that_cannot_be_done(command: str, message: str, models: Path, taught: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "cp949.json").write_bytes('{"data": "누가"}'.encode("cp949"))
    names = {"IN": models / "questions.json", "OUT": tmp_path / "out", "TAUGHT": taught}
    names |= {"EMPTY": tmp_path / "empty", "CP949": tmp_path / "cp949.json"}
    words = [str(names.get(word, word)).replace("OUT", str(tmp_path / "out")) for word in command.split()]
    with pytest.raises((InputError, OSError), match=message):
        main(words)
    assert not [path for path in tmp_path.iterdir() if path.name not in ("empty", "cp949.json", "out")]


@pytest.mark.parametrize(
    "command", ["answer --input IN --output OUT.jsonl", "evaluate --questions IN", "serve --port 0"]
)
def test_a_model_that_cannot_be_used_is_said_by_every_command(command: str, models: Path, tmp_path: Path) -> None:
    model = qass_without_question_token(models, tmp_path / "model")
    words = command.replace("IN", f"{models}/questions.json").replace("OUT", f"{tmp_path}/out").split()
    if command.startswith("serve"):
        pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    with pytest.raises(InputError, match=r"has no \[QUESTION\]"):
        main([*words, "--model", str(model)])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_console_says_one_line_and_ends_with_one(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "kosplinter", "answer", "--input", "absent", "--output", "a.jsonl", "--model", "m"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1 and result.stderr == "error: absent: no such file\n" and not result.stdout
