"""Whole runs: what they write, that it is the same however they run, and how they end when something is wrong."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from data_gen.passages import generation
from data_gen.passages.tokenization import TextTokenizer, Vocabulary
from data_gen.runs import jobs
from data_gen.runs.pipeline import run
from data_gen.runs.workers import WorkerError
from data_gen.verify_records import verify_folder
from kosplinter_common.cli import InputError
from kosplinter_common.records.dataset_info import DatasetInfo
from kosplinter_common.records.examples import decode_example
from tests.data_gen.small_corpus import (
    config_for,
    documents,
    files_of,
    payloads_of,
    run_over,
    unmasked,
    write_corpus,
    write_vocabulary,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with a vocabulary and 120 documents in two files, and what one process makes of them in "out"."""
    folder = tmp_path_factory.mktemp("corpus")
    write_vocabulary(folder / "vocab")
    write_corpus(folder / "a.txt", 90, seed=1)
    write_corpus(folder / "b.txt", 30, seed=2)
    run_over(folder)
    return folder


def test_bytes_do_not_depend_on_processes_or_buffers(corpus):
    expected = files_of(corpus / "out")
    assert len(expected) == 4
    assert run_over(corpus, "two", num_processes=3) == expected
    assert run_over(corpus, "small buffers", num_processes=2, buffer_bytes=30_000) == expected


def with_many_questions(folder):
    return {payload for payload in payloads_of(folder) if decode_example(payload)["masked_span_weights"].sum() > 4}


def test_another_seed_gives_other_records(corpus):
    run_over(corpus, "seed", random_seed=7)
    before, after = (with_many_questions(corpus / name) for name in ("out", "seed"))
    assert len(before & after) < 0.2 * len(before)  # few questions can be asked in as many ways


def test_the_number_of_shards_changes_the_files_only(corpus):
    files = run_over(corpus, "one", num_shards=1)
    assert [name for name in files if name.endswith("tfrecord")] == ["pretraining-00000-of-00001.tfrecord"]
    assert payloads_of(corpus / "one") == payloads_of(corpus / "out")  # one shuffle, cut in other places


def test_every_duplicate_has_its_own_masks_and_its_own_shard(tmp_path):
    write_vocabulary(tmp_path / "vocab")
    (tmp_path / "a.txt").write_text("\n".join(chain.from_iterable(documents(12))), encoding="utf-8")  # one document
    run_over(tmp_path, dupe_factor=20, num_shards=4, max_seq_length=512, max_questions_per_seq=30)
    payloads = payloads_of(tmp_path / "out")
    assert len(payloads) >= 20
    assert len(set(payloads)) > 0.9 * len(payloads)
    counts = [shard.records for shard in DatasetInfo.load(tmp_path / "out").shards]
    assert sum(counts) == len(payloads) and min(counts) > 0


def test_no_text_is_lost_or_invented(corpus):
    """The records of each duplicate hold every token of every document exactly once; also those without a question."""
    run_over(corpus, "disjoint", dupe_factor=2, max_predictions_per_seq=1)
    vocabulary = Vocabulary.load(corpus / "vocab")
    tokenizer = TextTokenizer(vocabulary, False)
    expected = Counter()
    for document in documents(90, 1) + documents(30, 2):
        expected.update(tokenizer.encode(document)[0].tolist())
    found = Counter()
    for payload in payloads_of(corpus / "disjoint"):
        found.update(unmasked(payload)[1:-1])
    assert found == Counter({token: 2 * count for token, count in expected.items()})


def test_dataset_json_tells_the_truth(corpus):
    info = verify_folder(corpus / "out")
    payloads = payloads_of(corpus / "out")
    records = [decode_example(payload) for payload in payloads]
    tokens = sum(len(unmasked(payload)) for payload in payloads)
    assert info.counts["documents"] == 120
    assert info.counts["records"] == len(records)
    assert len(records) + info.counts["records_dropped"] == info.counts["records_if_packing_disjoint"]
    assert info.counts["questions"] == sum(record["masked_span_weights"].sum() for record in records)
    assert info.counts["tokens"] == tokens
    assert info.counts["padding_rate"] == pytest.approx(1 - tokens / (64 * len(records)))
    reference = run(config_for(corpus, "for its counts", packing="reference", max_predictions_per_seq=1)).counts
    assert reference["records"] == info.counts["records_if_packing_reference"] > len(records)
    assert info.vocab.size == len(Vocabulary.load(corpus / "vocab").tokens)


def test_ngrams_are_the_masked_spans(corpus):
    tokens = Vocabulary.load(corpus / "vocab").tokens
    counts = Counter()
    for payload in payloads_of(corpus / "out"):
        record = decode_example(payload)
        names = ("beginnings", "endings", "weights")
        answers = {(b, e) for b, e, w in zip(*(record[f"masked_span_{n}"] for n in names), strict=True) if w}
        counts.update(" ".join(tokens[i] for i in record["input_ids"][begin : end + 1]) for begin, end in answers)
    lines = [line.split("\t") for line in (corpus / "out" / "ngrams.txt").read_text().splitlines()]
    assert {ngram: int(count) for ngram, count in lines} == counts
    assert [int(count) for _, count in lines] == sorted(counts.values(), reverse=True)


def test_excluded_ngrams_are_not_used(corpus):
    ngrams = (corpus / "out" / "ngrams.txt").read_text().splitlines()
    (corpus / "earlier").write_text("\n".join(ngrams[::2]))
    (corpus / "earliest").write_text("\n".join(ngrams[1:6:2]) + "\n")
    excluded = {line.split("\t")[0] for line in ngrams[::2] + ngrams[1:6:2]}
    files = run_over(corpus, "later", exclude_ngrams=(str(corpus / "earlier"), str(corpus / "earliest")))
    used = {line.split("\t")[0] for line in files["ngrams.txt"].decode().splitlines()}
    assert used and not used & excluded
    assert used & {line.split("\t")[0] for line in ngrams}


def test_a_line_that_is_no_ngram_is_named(corpus):
    (corpus / "wrong").write_text("서울\t3\n서울 3\n")
    with pytest.raises(InputError, match=r"wrong: line 2: found '서울 3'"):
        run(config_for(corpus, "never", exclude_ngrams=(str(corpus / "wrong"),)))


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"max_questions_per_seq": 0, "max_predictions_per_seq": 5}, {"masked_lm_positions"}),
        ({"max_predictions_per_seq": 9, "geometric_masking_p": 0.2}, {"masked_lm_positions", "masked_span_positions"}),
    ],
)
def test_other_schemes_run_as_well(corpus, options, fields):
    run_over(corpus, f"scheme {len(fields)}", **options)
    info = verify_folder(corpus / f"scheme {len(fields)}")
    assert fields <= info.record_spec.features().keys()
    assert info.counts["predictions"] > info.counts["records"]


def test_a_finished_run_is_left_as_it_is(corpus):
    before = {path: path.stat().st_mtime_ns for path in (corpus / "out").iterdir()}
    run(config_for(corpus))
    assert {path: path.stat().st_mtime_ns for path in (corpus / "out").iterdir()} == before


def test_another_configuration_is_refused_by_the_name_of_its_flag(corpus):
    run(config_for(corpus, "configured", configuration={"random_seed": 1, "dupe_factor": 3}))
    with pytest.raises(InputError, match=r"--dupe_factor: .*configured was begun with 3, found 4"):
        run(config_for(corpus, "configured", configuration={"random_seed": 1, "dupe_factor": 4}))


def test_a_folder_of_others_is_refused(corpus, tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match="found 'notes'"):
        run(config_for(corpus, str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_two_runs_do_not_write_into_one_folder(corpus, tmp_path):
    hold = "import sys, pathlib; from data_gen.runs.journal import Journal; j = Journal(pathlib.Path(sys.argv[1]), {})"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{hold}; print(flush=True); input()", str(tmp_path / "out")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    other.stdout.readline()
    with pytest.raises(InputError, match="another run is writing into this folder"):
        run(config_for(corpus, str(tmp_path / "out")))
    other.communicate(b"\n")
    run(config_for(corpus, str(tmp_path / "out")))


def fail_with_full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("module", "name"), [(generation, "write_spill"), (jobs, "frame")])
def test_a_full_disk_is_named_and_the_run_goes_on(corpus, monkeypatch, module, name):
    output = f"full {name}"
    with monkeypatch.context() as patch, pytest.raises(WorkerError, match=r"(a\.txt|\.tfrecord): .*No space left"):
        patch.setattr(module, name, fail_with_full_disk)
        run(config_for(corpus, output, num_processes=2))
    assert run_over(corpus, output, num_processes=2) == files_of(corpus / "out")


def test_a_worker_that_dies_is_named_and_the_run_goes_on(corpus, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(WorkerError, match=r"b\.txt: the worker process died.*-9"):
        read_unit = jobs.read_unit

        def die_at_b(unit, *rest):
            if unit.path.endswith("b.txt"):
                os.kill(os.getpid(), signal.SIGKILL)
            return read_unit(unit, *rest)

        patch.setattr(jobs, "read_unit", die_at_b)
        run(config_for(corpus, "dead"))
    assert len((corpus / "dead" / "journal.jsonl").read_text().splitlines()) > 2
    assert run_over(corpus, "dead") == files_of(corpus / "out")


def test_a_file_that_vanishes_is_named(corpus, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"gone\.txt: not found"):
        run(config_for(corpus, "gone", input_files=(str(tmp_path / "gone.txt"),)))
    assert not (corpus / "gone").exists()
    write_vocabulary(tmp_path / "vocab")
    path = write_corpus(tmp_path / "a.txt", 5)
    read_unit = jobs.read_unit

    def read_what_is_gone(unit, *rest):
        path.unlink(missing_ok=True)
        return read_unit(unit, *rest)

    monkeypatch.setattr(jobs, "read_unit", read_what_is_gone)
    with pytest.raises((InputError, WorkerError), match=r"a\.txt"):
        run(config_for(tmp_path))
    assert not list((tmp_path / "out").glob("*.tfrecord"))


def test_changed_input_is_refused(corpus, tmp_path, monkeypatch):
    write_vocabulary(tmp_path / "vocab")
    write_corpus(tmp_path / "a.txt", 20)
    with monkeypatch.context() as patch, pytest.raises(WorkerError):
        patch.setattr(jobs, "frame", fail_with_full_disk)
        run(config_for(tmp_path))
    write_corpus(tmp_path / "a.txt", 21)
    with pytest.raises(InputError, match=r"--input_file: .*a\.txt: found other content"):
        run(config_for(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\n\n\n", b"\xff\xfe\xff\n" * 20])
def test_input_without_text_leaves_nothing(corpus, tmp_path, content):
    write_vocabulary(tmp_path / "vocab")
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"no text found in 1 files, the first is .*a\.txt; skipped: "):
        run(config_for(tmp_path))
    assert not (tmp_path / "out").exists()


STRANGE = {  # text, its tokens, and a token with the number of times that it stands in the records of a duplicate
    "one repeated token": ("서울 " * 5000, 5000, "서울", 5000),
    "emoji, Hanja, Jamo": ("서울 😀 漢字 ㅋㅋㅋ ᄀ 😀 漢字 서울\n" * 20, 200, "[UNK]", 160),
    "one word of 100,000 letters": ("가" * 100_000 + " 서울 서울 서울", 4, "서울", 3),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_documents(corpus, tmp_path, name):
    text, num_tokens, token, times = STRANGE[name]
    write_vocabulary(tmp_path / "vocab")
    (tmp_path / "a.txt").write_text(text)
    run_over(tmp_path, dupe_factor=1, max_predictions_per_seq=1)
    counts = verify_folder(tmp_path / "out").counts
    assert (counts["documents"], counts["text_tokens"], counts["text_tokens_used"]) == (1, num_tokens, num_tokens)
    token_id = Vocabulary.load(tmp_path / "vocab").tokens.index(token)
    assert sum(unmasked(payload).count(token_id) for payload in payloads_of(tmp_path / "out")) == times


def test_text_in_which_nothing_recurs(corpus, tmp_path):
    write_vocabulary(tmp_path / "vocab")
    (tmp_path / "a.txt").write_text("서울\n\n한강 바다 학교.\n")
    with pytest.raises(InputError, match=r"none of the 6 records of 2 documents \(6 tokens\) has a question"):
        run(config_for(tmp_path))
    assert not (tmp_path / "out").exists()
    run(config_for(tmp_path, max_predictions_per_seq=2))
    counts = verify_folder(tmp_path / "out").counts
    assert (counts["records"], counts["records_dropped"], counts["text_tokens_used"]) == (6, 0, 6)


@contextmanager
def as_a_user_without_rights():
    """Root may write everywhere, so it has to become somebody else."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_output_where_none_can_be(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        run(config_for(corpus, str(tmp_path / "file" / "out")))
    with tempfile.TemporaryDirectory() as name:  # where others may look into: nobody but root looks into tmp_path
        folder = Path(name)
        write_vocabulary(folder / "vocab")
        write_corpus(folder / "a.txt", 2)
        folder.chmod(0o555)
        config = config_for(folder)
        with as_a_user_without_rights(), pytest.raises(PermissionError, match=f"{folder}/out"):
            run(config)
        assert not (folder / "out").exists()


def command(folder, *flags):
    return [
        sys.executable,
        str(ROOT / "data_gen" / "create_pretraining_data.py"),
        f"--input_file={folder}/*.txt",
        f"--vocab_file={folder}/vocab",
        "--max_seq_length=64",
        "--num_shards=6",
        "--unit_kb=2",
        *flags,
    ]


def kill_when(process, condition):
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    return process.wait()


def test_killed_runs_end_as_undisturbed_ones(corpus, tmp_path):
    """Killed with SIGKILL among the tasks, twice, and among the shards, then left to end."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(corpus, f"--output_dir={whole}", "--num_processes=1"), check=True, capture_output=True)
    journal = killed / "journal.jsonl"
    resumed = command(corpus, f"--output_dir={killed}", "--num_processes=2")
    for lines in (2, 9):
        process = subprocess.Popen(resumed, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        status = kill_when(process, lambda at=lines: journal.exists() and journal.read_bytes().count(b"\n") >= at)
        assert status == -signal.SIGKILL
    process = subprocess.Popen(resumed, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    kill_when(process, lambda: any(killed.glob("*.tfrecord")))
    (killed / ".pretraining-00001-of-00006.tfrecord.1.partial").write_bytes(b"of a killed run")
    with open(journal, "ab") as file:
        file.write(b'{"job": "task')  # the last line was cut off by the kill
    finished = subprocess.run(resumed, check=True, capture_output=True, text=True)
    assert "records of 120 documents" in finished.stdout
    assert files_of(killed) == files_of(whole)
    assert sorted(path.name for path in killed.iterdir()) == sorted(path.name for path in whole.iterdir())
    ours, theirs = (json.loads((folder / "dataset.json").read_text()) for folder in (killed, whole))
    ours.pop("flags"), theirs.pop("flags")
    assert ours == theirs


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input_file=nowhere/*.txt"], "error: no file matches 'nowhere/*.txt'"),
        (["--vocab_file=nowhere"], "error: --vocab_file: nowhere not found"),
        (["--recurring_span_selection=False"], "leaves nothing to learn"),
    ],
)
def test_wrong_flags_end_in_one_line(corpus, tmp_path, flags, message):
    done = subprocess.run(
        command(corpus, f"--output_dir={tmp_path / 'out'}", *flags), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


QUOTES = "“서울”에서 – ‘한강’… Ａ서울 · 한강"


def test_characters_that_the_vocabulary_lacks_are_counted_in_dataset_json(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join([QUOTES] * 3), encoding="utf-8")
    tokens = write_vocabulary(tmp_path / "vocab").read_text(encoding="utf-8").split()
    (tmp_path / "vocab").write_text("\n".join([*tokens, '"', "'", "-", ","]), encoding="utf-8")
    run_over(tmp_path, num_processes=2, unit_bytes=100)
    assert DatasetInfo.load(tmp_path / "out").counts["characters_replaced"] == 3 * 8


def test_a_vocabulary_that_has_the_characters_gives_the_bytes_it_gave(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("\n\n".join([QUOTES] * 3), encoding="utf-8")
    tokens = write_vocabulary(tmp_path / "vocab").read_text(encoding="utf-8").split()
    own = [character for character in QUOTES if character not in tokens and not character.isspace()]
    (tmp_path / "vocab").write_text("\n".join(dict.fromkeys([*tokens, *own, '"', "'", "-", ","])), encoding="utf-8")
    found = run_over(tmp_path)
    monkeypatch.setattr("data_gen.passages.tokenization.replacements", lambda *_: {})
    assert run_over(tmp_path, "plain") == found
    assert DatasetInfo.load(tmp_path / "out").counts["characters_replaced"] == 0
