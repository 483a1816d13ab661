import gzip
import logging
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import PipelineOptions

from data_gen.beam import job as beam_job
from data_gen.beam.remote_files import fetched, matching_files, whole_file
from data_gen.passages.generation import GenerationConfig
from data_gen.passages.masking import MaskingConfig
from data_gen.passages.tokenization import SPECIAL_TOKENS
from data_gen.runs import pipeline
from kosplinter_common.cli import InputError
from kosplinter_common.records.dataset_info import DatasetInfo

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = ["서울", "부산", "대구", "강", "산", "바다", "나무", "하늘"]
IN_MEMORY = PipelineOptions([])  # one worker, in this process
GENERATION = GenerationConfig(MaskingConfig(max_seq_length=32, max_questions_per_seq=4), dupe_factor=3)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A plain file of several units and a compressed one with JSON lines, one of them broken."""
    documents = [" ".join(WORDS[(i * j) % len(WORDS)] for j in range(1, 40)) for i in range(1, 30)]
    (tmp_path / "a.txt").write_text("\n\n".join(documents), encoding="utf-8")
    lines = "".join(f'{{"text": "{text}"}}\n' for text in documents[:5]) + "{broken\n"
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *WORDS]), encoding="utf-8")
    return tmp_path


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineOptions]:
    """Beam's direct runner with two workers behind gRPC servers, which it would open to the whole network."""
    from grpc._server import _Server

    def on_loopback(self: _Server, address: str, bind=_Server.add_insecure_port) -> int:
        return bind(self, address.replace("[::]", "127.0.0.1"))

    monkeypatch.setattr(_Server, "add_insecure_port", on_loopback)
    previous = logging.root.level
    logging.root.setLevel(logging.WARNING)
    yield PipelineOptions(["--direct_num_workers=2", "--direct_running_mode=multi_threading"])
    logging.root.setLevel(previous)


class AwayFileSystem(LocalFileSystem):
    """away://… as an object store: names under `root` on this machine, no folders."""

    root: ClassVar[Path]

    @classmethod
    def scheme(cls):
        return "away"

    def _here(self, path):
        return str(self.root / path.removeprefix("away://"))

    def has_dirs(self):
        return False

    def mkdirs(self, path):
        pass

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def _list(self, dir_or_prefix):
        for file in filter(Path.is_file, self.root.rglob("*")):
            path = f"away://{file.relative_to(self.root)}"
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, file.stat().st_size)

    def open(self, path, *arguments, **options):
        return super().open(self._here(path), *arguments, **options)

    def create(self, path, *arguments, **options):
        return super().create(self._here(path), *arguments, **options)

    def metadata(self, path):
        return FileMetadata(path, Path(self._here(path)).stat().st_size)

    def exists(self, path):
        return Path(self._here(path)).is_file()

    def rename(self, sources, destinations):
        super().rename(list(map(self._here, sources)), list(map(self._here, destinations)))

    def delete(self, paths):
        for path in paths:
            Path(self._here(path)).unlink()


def beam_config(corpus: Path, **changes) -> beam_job.BeamConfig:
    files = matching_files(f"{corpus}/a.txt,{corpus}/b.*")
    values = {"num_shards": 40, "unit_bytes": 1000, "exclude_ngrams": ()} | changes
    return beam_job.BeamConfig(
        input_files=tuple(files),
        output_dir=str(corpus / "beam"),
        vocab_file=str(corpus / "vocab.txt"),
        generation=GENERATION,
        **values,
    )


def test_beam_writes_the_bytes_of_the_local_run(corpus: Path, two_workers: PipelineOptions):
    (corpus / "earlier.txt").write_text("서울 부산\t3\n강\t2\n", encoding="utf-8")
    excluded = (str(corpus / "earlier.txt"),)
    distributed = beam_job.run(beam_config(corpus, exclude_ngrams=excluded), two_workers)
    local = pipeline.run(
        pipeline.PipelineConfig(
            input_files=(str(corpus / "a.txt"), str(corpus / "b.jsonl.gz")),
            output_dir=corpus / "local",
            vocab_file=corpus / "vocab.txt",
            generation=GENERATION,
            exclude_ngrams=excluded,
            num_shards=40,
            unit_bytes=1000,
        )
    )
    assert distributed == local == DatasetInfo.load(corpus / "beam")
    assert distributed.skipped == {"broken JSON": 1, "bytes unread in broken JSON": 7}
    assert 0 in [shard.records for shard in distributed.shards]  # a shard without records is a file too
    assert distributed.counts["documents"] == 34 and distributed.counts["questions"] > 100
    read, used, never_used = (distributed.counts[f"text_tokens{what}"] for what in ("", "_used", "_never_used"))
    assert read == used + never_used == 34 * 39 and distributed.counts["records_dropped"] > 0 and never_used > 0
    for name in ["ngrams.txt", *(shard.name for shard in local.shards)]:
        assert (corpus / "beam" / name).read_bytes() == (corpus / "local" / name).read_bytes(), name
    written = sorted(path.name for path in (corpus / "beam").iterdir())
    assert written == sorted(["dataset.json", "ngrams.txt", *(shard.name for shard in local.shards)])

    with pytest.raises(InputError, match="holds a finished data set"):
        beam_job.run(beam_config(corpus), two_workers)


def test_a_fault_on_a_worker_names_the_file(corpus: Path):
    whole = (corpus / "b.jsonl.gz").read_bytes()
    (corpus / "b.jsonl.gz").write_bytes(whole[:-9])
    with pytest.raises(InputError, match=r"b\.jsonl\.gz: damaged, truncated or locked archive: [^\n]*$"):
        beam_job.run(beam_config(corpus), IN_MEMORY)
    assert not (corpus / "beam" / "dataset.json").exists()


def test_input_in_which_nothing_recurs(corpus: Path):
    (corpus / "a.txt").write_text("서울\n\n부산")
    (corpus / "b.jsonl.gz").write_bytes(gzip.compress('{"text": "강 산"}\n'.encode()))
    with pytest.raises(InputError, match=r"none of the 9 records of 3 documents \(4 tokens\) has a question"):
        beam_job.run(beam_config(corpus), IN_MEMORY)
    assert not (corpus / "beam" / "dataset.json").exists()


def test_files_that_cannot_be_read_may_be_allowed(corpus: Path):
    (corpus / "b.jsonl.gz").write_bytes((corpus / "b.jsonl.gz").read_bytes()[:-9])
    (corpus / "a.txt").write_bytes((corpus / "a.txt").read_text(encoding="utf-8").encode("cp949"))
    info = beam_job.run(beam_config(corpus, allow_unreadable_files=True), IN_MEMORY)
    assert list(info.files["unreadable"]) == [str(corpus / "b.jsonl.gz")]
    assert info.files["decoded"] == {"cp949": 1}
    assert info.counts["documents"] == 29 and DatasetInfo.load(corpus / "beam") == info


def test_input_without_text(corpus: Path):
    (corpus / "a.txt").write_text("\n")
    (corpus / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": ""}\n'))
    with pytest.raises(InputError, match=r"no text found in 2 files; skipped: \{'document without text': 1\}"):
        beam_job.run(beam_config(corpus), IN_MEMORY)
    assert not (corpus / "beam" / "dataset.json").exists()


# In a process of its own: flags are global, and those of other entry points have the same names.
COMPARE_FLAGS = """
import dataclasses, sys
from absl import flags
from kosplinter_common.cli import InputError
from data_gen import beam_pipeline, create_pretraining_data
flags.FLAGS(sys.argv)
here, there = create_pretraining_data._config(), beam_pipeline._beam_config()
assert here.input_files == there.input_files
assert (str(here.output_dir), str(here.vocab_file)) == (there.output_dir, there.vocab_file)
names = {field.name for field in dataclasses.fields(here)} - {"input_files", "output_dir", "vocab_file"}
for name in names - {"num_processes", "configuration"}:  # what Beam has its own ways for
    assert getattr(here, name) == getattr(there, name), name
assert not {"tensorflow", "torch"} & set(sys.modules)
try:
    beam_pipeline._pipeline_options(["--runner=DirectRunner", "--max_seq_lenght=128"])
except InputError as error:
    print(error)
"""


def test_flags_mean_what_they_mean_to_the_local_run_and_tensorflow_is_not_needed(corpus: Path):
    given = f"""--input_file={corpus}/*.gz --vocab_file={corpus}/vocab.txt --output_dir={corpus}/out
        --exclude_ngrams={corpus}/a.txt --stopwords=en,{corpus}/vocab.txt --do_lower_case --corpus_format=jsonl
        --json_text_key=k --num_shards=7 --unit_kb=9 --span_boundary=particle --packing=reference --dupe_factor=2
        --document_per_line --random_seed=8 --max_line_mb=3"""
    command = [sys.executable, "-c", COMPARE_FLAGS, *given.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("found --max_seq_lenght, expected a flag of")


def test_pattern_without_a_match(corpus: Path):
    with pytest.raises(InputError, match=r"no file matches .*none"):
        matching_files(f"{corpus}/a.*,{corpus}/none*")


def test_remote_files(corpus: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(AwayFileSystem, "root", corpus, raising=False)
    with zipfile.ZipFile(corpus / "c.zip", "w") as archive:
        archive.write(corpus / "a.txt", "member.txt")
    (corpus / "earlier.txt").write_text("서울 부산\t3\n", encoding="utf-8")
    config = beam_job.BeamConfig(
        input_files=tuple(matching_files("away://?.txt,away://*.gz,away://c.zip")),
        output_dir="away://records/first",
        vocab_file="away://vocab.txt",
        generation=GENERATION,
        exclude_ngrams=("away://earlier.txt",),
        unit_bytes=1000,
        num_shards=2,
    )
    assert config.input_files == ("away://a.txt", "away://b.jsonl.gz", "away://c.zip")
    info = beam_job.run(config, IN_MEMORY)
    assert info.counts["documents"] == 29 + 5 + 29
    written = sorted(path.name for path in (corpus / "records" / "first").rglob("*") if path.is_file())
    assert written == ["dataset.json", "ngrams.txt", *(shard.name for shard in info.shards)]
    assert "서울 부산\t" not in (corpus / "records" / "first" / "ngrams.txt").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="no file matches 'away://none'"):
        matching_files("away://none")
    with pytest.raises(InputError, match=r"nowhere://x: cannot be reached"):
        matching_files("nowhere://x")


def test_local_paths_are_used_as_they_are(corpus: Path):
    assert fetched(str(corpus / "a.txt"), corpus / "elsewhere") == corpus / "a.txt"
    assert matching_files(f"{corpus}/a.*, {corpus}/a.txt") == [str(corpus / "a.txt")]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), whole_file(str(tmp_path / "x")) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert not (tmp_path / "x").exists()
    for content in (b"first", b"second"):
        with whole_file(str(tmp_path / "x")) as file:
            file.write(content)
    assert (tmp_path / "x").read_bytes() == b"second"
