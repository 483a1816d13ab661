"""What becomes of the text: tokens read, used and never used, as the records tell; documents by the line."""

import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from data_gen.passages.tokenization import TextTokenizer, Vocabulary
from data_gen.runs.pipeline import run
from kosplinter_common.records.examples import decode_example
from tests.data_gen.small_corpus import (
    config_for,
    documents,
    payloads_of,
    run_over,
    unmasked,
    write_corpus,
    write_vocabulary,
)

ROOT = Path(__file__).resolve().parents[3]


def tokens_found(records, ids):
    """How many tokens of a document stand in a record; no passage of it stands in it twice."""
    found = np.zeros(len(ids), bool)
    text = np.array(ids, np.int32).tobytes()
    for record in records:
        passage = np.array(record[1:-1], np.int32)
        place = text.index(passage.tobytes()) // passage.itemsize
        found[place : place + len(passage)] = True
    return int(found.sum())


def one_document(folder, count):
    """Sentences that are all different, each with a number, as one document."""
    lines = [f"{line} {i // 10 % 10} {i % 10}." for i, line in enumerate(chain.from_iterable(documents(count)))]
    write_vocabulary(folder / "vocab")
    with open(folder / "vocab", "a") as file:
        file.write("".join(f"{digit}\n" for digit in "02345679" if digit not in (folder / "vocab").read_text().split()))
    return lines


@pytest.mark.parametrize("packing", ["disjoint", "reference"])
@pytest.mark.parametrize("layout", ["lines", "one line", "lines of many sentences"])
def test_counts_are_those_of_the_records(tmp_path, packing, layout):
    lines = one_document(tmp_path, 12)
    step = {"lines": 1, "one line": len(lines), "lines of many sentences": 7}[layout]
    segments = [" ".join(lines[start : start + step]) for start in range(0, len(lines), step)]
    (tmp_path / "a.txt").write_text("\n".join(segments))
    info = run(config_for(tmp_path, packing=packing, dupe_factor=1, max_questions_per_seq=4))
    ids = TextTokenizer(Vocabulary.load(tmp_path / "vocab"), False).encode(segments)[0].tolist()
    read, used, lost = (info.counts[name] for name in ("text_tokens", "text_tokens_used", "text_tokens_never_used"))
    assert (read, read - used) == (len(ids), lost)
    assert used == tokens_found(map(unmasked, payloads_of(tmp_path / "out")), ids)
    if packing == "disjoint":
        assert used + 62 * info.counts["records_dropped"] >= read and used > 0.9 * read
    elif layout != "lines":
        assert used < 0.6 * read


def test_long_lines_are_cut_between_sentences(tmp_path):
    lines = one_document(tmp_path, 12)
    (tmp_path / "a.txt").write_text(" ".join(lines))
    run_over(tmp_path, dupe_factor=1, max_seq_length=128, max_predictions_per_seq=1)
    stop = Vocabulary.load(tmp_path / "vocab").id(".")
    records = [unmasked(payload) for payload in payloads_of(tmp_path / "out")]
    assert len(records) > 5
    assert [record[-2] for record in records] == [stop] * len(records)
    assert sum(len(record) > 64 for record in records) >= len(records) - 1


def test_one_word_is_never_cut_in_two(tmp_path):
    """Lines without an end of a sentence, of words of many pieces."""
    vocabulary = Vocabulary.load(write_vocabulary(tmp_path / "vocab"))
    (tmp_path / "a.txt").write_text("도서관에서 세종은 기차로 학교에서 김치을 " * 60)
    run_over(tmp_path, max_seq_length=32)
    firsts = {unmasked(payload)[1] for payload in payloads_of(tmp_path / "out")}
    assert firsts and not any(vocabulary.tokens[first].startswith("##") for first in firsts)


def test_records_without_a_question_are_dropped_and_the_others_stay_as_they_are(tmp_path):
    write_vocabulary(tmp_path / "vocab")
    write_corpus(tmp_path / "a.txt", 60)
    info = run(config_for(tmp_path))
    questions = [int(decode_example(payload)["masked_span_weights"].sum()) for payload in payloads_of(tmp_path / "out")]
    assert len(questions) == info.counts["records"] and min(questions) > 0
    assert info.counts["records_dropped"] > 10 and info.counts["records_without_labels"] == 0
    assert info.counts["records"] + info.counts["records_dropped"] == info.counts["records_if_packing_disjoint"]
    assert 0 < info.counts["text_tokens_never_used"] == info.counts["text_tokens"] - info.counts["text_tokens_used"]


def command(folder, *flags):
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "data_gen" / "create_pretraining_data.py"),
            f"--input_file={folder}/*.txt",
            f"--vocab_file={folder}/vocab",
            f"--output_dir={folder}/out{len(flags)}",
            "--max_seq_length=64",
            "--num_processes=1",
            *flags,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done, json.loads((folder / f"out{len(flags)}" / "dataset.json").read_text())["counts"]


def test_the_command_says_what_became_of_the_text_and_what_looks_like_many_documents(tmp_path):
    write_vocabulary(tmp_path / "vocab")
    comments = [line for document in documents(20) for line in document]
    (tmp_path / "comments.txt").write_text("\n".join(comments))
    write_corpus(tmp_path / "others.txt", 20)
    done, counts = command(tmp_path)
    assert counts["documents"] == 21
    assert (
        f"text: {counts['text_tokens']:,} tokens read, {counts['text_tokens_used']:,} used, "
        f"{counts['text_tokens_never_used']:,} never used; {counts['records_dropped']:,} records" in done.stdout
    )
    (said,) = [line for line in done.stderr.splitlines() if "--document_per_line" in line]
    assert (
        f"{tmp_path}/comments.txt: {len(comments)} lines without a blank line between them, one document, hold 100%"
        in said
    )
    by_line, counts_by_line = command(tmp_path, "--document_per_line")
    assert counts_by_line["documents"] == 2 * len(comments)
    assert counts_by_line["text_tokens"] == counts["text_tokens"]
    assert "document_per_line" not in by_line.stderr
