import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_gen.inspection.page import PageSizes, write_page
from data_gen.inspection.passages import Run, Statistics, as_passage, frequent_ngrams, join_pieces, sampled_records
from data_gen.passages.tokenization import SPECIAL_TOKENS
from kosplinter_common.cli import InputError
from kosplinter_common.files import file_sha256
from kosplinter_common.records.dataset_info import DatasetInfo, ShardInfo, VocabInfo
from kosplinter_common.records.examples import ExampleEncoder, RecordSpec
from kosplinter_common.records.tfrecords import write_records

ENTRY_POINT = Path(__file__).resolve().parents[2] / "data_gen" / "inspect_records.py"
SPEC = RecordSpec(max_seq_length=16, max_questions_per_seq=3, max_predictions_per_seq=2)
TOKENS = (*SPECIAL_TOKENS, "서울", "##특", "##별", "##에서", "는", "(", ")", "<b>", "서", "##울", "1")
IDS = {token: number for number, token in enumerate(TOKENS)}


def record(*pieces: str, questions=(), predictions=()) -> dict[str, np.ndarray]:
    """Pieces "[PAD]" before the last real one stand behind a [QUESTION]: not attended to."""
    values = {name: np.zeros(length, kind) for name, (kind, length) in SPEC.features().items()}
    values["input_ids"][:] = IDS["[PAD]"]
    values["input_ids"][: len(pieces)] = [IDS[piece] for piece in pieces]
    values["input_mask"][: len(pieces)] = [piece != "[PAD]" for piece in pieces]
    for number, span in enumerate(questions):
        for name, value in zip(("positions", "beginnings", "endings", "weights"), (*span, 1), strict=True):
            values[f"masked_span_{name}"][number] = value
    for number, (position, token) in enumerate(predictions):
        values["masked_lm_positions"][number], values["masked_lm_ids"][number] = position, IDS[token]
        values["masked_lm_weights"][number] = 1
    return values


PIECES = "[CLS] 서울 ##특 ##별 ##에서 ( <b> ) 는 [QUESTION] [PAD] [PAD] ##에서 [MASK] [SEP]"
RECORD = record(*PIECES.split(), questions=[(9, 1, 3)], predictions=[(13, "서울")])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    folder.mkdir()
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    encoder = ExampleEncoder(SPEC)
    names = [f"pretraining-0000{number}-of-00002.tfrecord" for number in range(2)]
    for name in names:
        write_records(folder / name, [encoder.encode(RECORD)] * 3)
    (folder / "ngrams.txt").write_text("서울 ##특 ##별\t7\n<b>\t2\n", encoding="utf-8")
    DatasetInfo(
        flags={"vocab_file": str(vocabulary), "stopwords": "<ko>"},
        **dataclasses.asdict(SPEC),
        vocab=VocabInfo("vocab.txt", len(TOKENS), file_sha256(vocabulary)),
        counts={"documents": 2, "records": 6, "tokens": 90, "questions": 6, "padding_rate": 1 / 16},
        skipped={"document without text": 3},
        shards=tuple(ShardInfo(name, 3, (folder / name).stat().st_size, file_sha256(folder / name)) for name in names),
    ).save(folder)
    return folder


def test_passage_as_runs():
    passage = as_passage("r", RECORD, TOKENS)
    assert passage.runs == [
        Run("special", "[CLS]", False),
        Run("answer", "서울특별", True, 1),
        Run("text", "에서 (<b>) 는", False),
        Run("question", "[QUESTION]", True, 1, "서울특별"),
        Run("text", "에서", False),
        Run("prediction", "[MASK]", True, None, "서울"),
        Run("special", "[SEP]", True),
    ]
    assert (passage.num_questions, passage.num_tokens, passage.num_padding) == (1, 15, 1)


def test_clusters_are_numbered_in_the_order_of_their_answers():
    questions = [(0, 3, 3), (1, 2, 2), (4, 3, 3)]
    passage = as_passage("r", record("[QUESTION]", "[QUESTION]", "는", "1", "[QUESTION]", questions=questions), TOKENS)
    assert [(run.kind, run.cluster) for run in passage.runs] == [
        ("question", 2),
        ("question", 1),
        ("answer", 1),
        ("answer", 2),
        ("question", 2),
    ]


def test_joined_pieces():
    assert join_pieces(["서", "##울", "는", "(", "1", ")", ",", "서", "1", ",", "1", "."]) == "서울 는 (1), 서 1,1."
    assert join_pieces([]) == ""


def test_statistics():
    statistics = Statistics()
    statistics.add(RECORD)
    statistics.add(record("[CLS]", "는", "[SEP]"))
    assert statistics.records == 2
    assert statistics.questions == {1: 1, 0: 1}
    assert statistics.span_lengths == {3: 1}
    assert statistics.padding == {0: 1, 8: 1}  # 1 of 16 and 13 of 16 tokens


def test_sample_takes_of_every_shard(folder: Path):
    names = [name for name, _ in sampled_records(folder, DatasetInfo.load(folder), 4)]
    assert [name.split("-of-00002.tfrecord ") for name in names] == [
        ["pretraining-00000", "#0"],
        ["pretraining-00000", "#1"],
        ["pretraining-00001", "#0"],
        ["pretraining-00001", "#1"],
    ]


def test_page(folder: Path, tmp_path: Path):
    assert write_page(folder, tmp_path / "page.html", sizes=PageSizes(records=2)) == (2, 6)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<article>") == 2
    (hidden,) = set(re.findall(r'class="question"[^>]*data-hidden="([^"]*)"', page))
    (answer,) = set(re.findall(r"<mark[^>]*>(.*?)<sup>", page))
    assert hidden == answer == "서울특별"
    assert len(set(re.findall(r"--hue:(\d+)", page))) == 1  # question and answer have the cluster's colour
    assert len(re.findall(r"--hue:\d+", page)) == 2 * 2
    assert "<b>" not in page and "&lt;b&gt;" in page and "&lt;ko&gt;" in page
    assert "서울특별" in page and "document without text: 3" in page
    assert len(re.findall("<svg", page)) == 4
    assert not re.search(r"https?:|//cdn|src=|@import|url\(", page)  # nothing is fetched from elsewhere


def test_entry_point(folder: Path, tmp_path: Path):
    command = [sys.executable, ENTRY_POINT, folder]
    done = subprocess.run([*command, "--html", tmp_path / "page.html"], capture_output=True, text=True)
    assert done.returncode == 0 and "6 of 6 records" in done.stdout
    done = subprocess.run([*command[:2], "--html=x.html"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: found 0 folders, expected one")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "dataset.json").unlink(), r"dataset\.json: not found"),
        (lambda folder: (folder / "ngrams.txt").unlink(), r"ngrams\.txt: not found"),
        (lambda folder: (folder / "ngrams.txt").write_text("x\n"), r"ngrams\.txt: line 1: found 'x'"),
        (
            lambda folder: (folder / "pretraining-00001-of-00002.tfrecord").unlink(),
            r"00001-of-00002\.tfrecord: not found",
        ),
        (lambda folder: (folder.parent / "vocab.txt").write_text("\n".join(SPECIAL_TOKENS)), r"vocab\.txt: sha256 is"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, tmp_path: Path, damage, message: str):
    damage(folder)
    with pytest.raises(InputError, match=message):
        write_page(folder, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_impossible_records_are_named():
    with pytest.raises(InputError, match="r: a question or its answer lies outside of the record's 2 tokens"):
        as_passage("r", record("[QUESTION]", "는", questions=[(0, 3, 4)]), TOKENS)
    with pytest.raises(InputError, match="r: input_ids: found 8, but the vocabulary has 7 tokens"):
        as_passage("r", record("##별"), TOKENS[:7])


def test_ngrams_are_joined(folder: Path):
    assert frequent_ngrams(folder, 1) == [("서울특별", 7)]
