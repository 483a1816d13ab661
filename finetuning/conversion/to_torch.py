"""One conversion to PyTorch from beginning to end: read, account, write, verify, describe."""

from dataclasses import dataclass
from pathlib import Path

from finetuning.conversion.batches import Batch, batch_from_records, batch_from_text, random_batch
from finetuning.conversion.dialects import Source, describe_ignored, open_source
from finetuning.conversion.model_card import find_provenance, model_card
from finetuning.conversion.tensors import SAFETENSORS_FILE, Checkpoint, check_output, locate, open_reader
from finetuning.conversion.torch_writing import Format, stock_obstacles, write_model
from finetuning.conversion.verification import TOLERANCE, Report, verify
from finetuning.conversion.vocabulary import SPECIAL_TOKENS, Vocabulary, find_vocabulary, write_tokenizer
from finetuning.conversion.weight_transforms import fold_projection, with_new_head
from kosplinter_common.cli import InputError
from kosplinter_common.files import atomic_directory

SAMPLE_TEXT = Path(__file__).resolve().parents[2] / "sample"


@dataclass(frozen=True)
class ConversionConfig:
    """What to convert, to what, and how it is checked; the entry point's flags under their names."""

    checkpoint: str
    output: str
    bert_config_file: str | None = None
    vocab_file: str | None = None
    format: str = Format.QASS.value
    do_lower_case: bool = False
    layer_norm_eps: float | None = None
    qass_layer_norm_eps: float | None = None
    hidden_act: str | None = None
    average_last: int = 1
    verify: bool = True
    verify_records: str | None = None
    verify_text: str | None = None
    verify_tolerance: float = TOLERANCE
    license: str = "other"


def convert(config: ConversionConfig) -> tuple[Report, Report | None] | None:
    """Writes the converted folder, or nothing. Returns the verification's reports (see verification.verify).

    Raises:
      InputError: the checkpoint, its config and its vocabulary do not fit together, or verification failed.
    """
    checkpoint = locate(config.checkpoint)
    check_output(config.output, checkpoint, SAFETENSORS_FILE)
    vocabulary = find_vocabulary(config.vocab_file, checkpoint.folder)
    vocabulary.require(SPECIAL_TOKENS)
    source = load_source(checkpoint, config, vocabulary)
    source, _ = fold_projection(source)
    notes = [] if source.has_head else ["**The span-selection head is new**: the checkpoint has none, so train it."]
    source = with_new_head(source)
    format = Format(config.format)
    for obstacle in stock_obstacles(source) if format is Format.SPLINTER else []:
        print(f"not exact in format splinter: {obstacle}")
    with atomic_directory(config.output) as folder:
        write_model(source, format, vocabulary, folder)
        notes += write_tokenizer(vocabulary, folder, config.do_lower_case, source.config.max_position_embeddings)
        for note in notes:
            print(note)
        reports = None
        if config.verify:
            batch = verification_batch(config, source, vocabulary, folder)
            reports = verify(source, folder, format, batch, config.verify_tolerance)
            _print_reports(*reports)
        provenance = find_provenance(checkpoint.folder)
        name = Path(config.output).resolve().name
        card = model_card(source, format, vocabulary, name, config.license, provenance, reports, notes)
        (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"wrote {config.output}")
    return reports


def load_source(checkpoint: Checkpoint, config: ConversionConfig, vocabulary: Vocabulary) -> Source:
    """Opens a checkpoint, says what it is, and holds its config against the vocabulary."""
    overrides = {name: getattr(config, name) for name in ("layer_norm_eps", "qass_layer_norm_eps", "hidden_act")}
    config_path = find_config(config.bert_config_file, checkpoint.folder)
    source = open_source(checkpoint, open_reader(checkpoint, config.average_last), config_path, overrides, vocabulary)
    print(f"{source.reader.path}: {source.dialect.value}")
    found = source.config
    epsilons = f"{found.layer_norm_eps:g}, in QASS {found.qass_layer_norm_eps:g}"
    print(f"GELU: {found.hidden_act}; epsilon: {epsilons}, {source.epsilon_origin}")
    for line in describe_ignored(source.ignored):
        print(line)
    if found.vocab_size != len(vocabulary):
        raise InputError(
            f"{config_path}: vocab_size: found {found.vocab_size}, expected {len(vocabulary)}, "
            f"the tokens of {vocabulary.path}"
        )
    return source


def find_config(given: str | None, folder: Path) -> Path:
    """The config that was given, or else the one beside the checkpoint."""
    candidates = [Path(given)] if given else [folder / "bert_config.json", folder / "config.json"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(f"config not found: looked for {', '.join(map(str, candidates))}; --bert_config_file names it")


def verification_batch(config: ConversionConfig, source: Source, vocabulary: Vocabulary, folder: Path) -> Batch:
    """Records or text where given, else the repository's sample corpus, else random WordPieces."""
    length = source.config.max_position_embeddings
    if config.verify_records:
        return batch_from_records(config.verify_records, source.config.vocab_size, length)
    texts = [Path(config.verify_text)] if config.verify_text else sorted(SAMPLE_TEXT.rglob("*.txt"))[:1]
    if not texts:
        return random_batch(vocabulary, length)
    from transformers import AutoTokenizer

    return batch_from_text(texts[0], AutoTokenizer.from_pretrained(folder), vocabulary, length)


def _print_reports(exact: Report, stock: Report | None) -> None:
    print("verified (names and shapes; the epsilons are taken as given): " + "; ".join(exact.lines()))
    if stock is not None:
        print("stock class: " + "; ".join(stock.lines()))
