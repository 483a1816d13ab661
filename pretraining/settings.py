"""What a pretraining run is told: one frozen object, checked before any long work."""

from dataclasses import dataclass, replace

from kosplinter_common.cli import InputError
from kosplinter_common.records.examples import RecordSpec

# The paper's limits (section 5.1 and appendix A), where neither a flag nor dataset.json says otherwise.
MAX_SEQ_LENGTH = 512
MAX_QUESTIONS_PER_SEQ = 30
MAX_PREDICTIONS_PER_SEQ = 30


@dataclass(frozen=True)
class PretrainingSettings:
    """The flags of run_pretraining.py, by their names."""

    bert_config_file: str
    output_dir: str
    input_file: str = ""
    eval_input_file: str = ""
    vocab_file: str = ""
    init_checkpoint: str = ""
    initializer: str = "bert"
    layer_norm_eps: float | None = None  # None: the config's, or what the init_checkpoint's names tell
    max_seq_length: int | None = None
    max_questions_per_seq: int | None = None
    max_predictions_per_seq: int | None = None
    recurring_span_selection: bool | None = None  # None: spans where the records hold them
    only_recurring_span_selection: bool | None = None  # None: masked LM where the records hold predictions
    do_train: bool = False
    do_eval: bool = False
    eval_follow: bool = False
    allow_changed_records: bool = False
    train_batch_size: int = 256
    eval_batch_size: int = 64
    gradient_accumulation_steps: int = 1
    learning_rate: float = 1e-4
    num_train_steps: int = 2_400_000
    num_warmup_steps: int = 10_000
    save_checkpoints_steps: int = 1000
    keep_checkpoint_max: int = 5
    keep_checkpoint_every_steps: int = 0  # 0: none is kept for ever
    iterations_per_loop: int = 0  # 0: to the next checkpoint
    log_steps: int = 100
    eval_every_steps: int = 0  # 0: once, after training
    max_eval_steps: int = 0  # 0: every record
    shuffle_buffer_size: int = 20_000
    random_seed: int = 12345
    use_bfloat16: bool = False
    use_xla: bool = False
    use_one_hot_embeddings: bool = False
    distribution: str = "auto"
    use_tpu: bool = False
    tpu_name: str = "local"
    tpu_zone: str = ""
    gcp_project: str = ""
    master: str = ""
    num_tpu_cores: int = 8

    def __post_init__(self) -> None:
        if not self.do_train and not self.do_eval:
            raise InputError("found neither --do_train nor --do_eval, expected at least one")
        if self.do_train and not self.input_file:
            raise InputError("--input_file: found nothing, expected record files to train on")
        if self.do_eval and not (self.eval_input_file or self.input_file):
            raise InputError("--do_eval: found no --eval_input_file and no --input_file, expected records for eval")
        if self.eval_follow and (self.do_train or self.use_tpu):
            other = "--do_train" if self.do_train else "--use_tpu"
            raise InputError(
                f"--eval_follow: found {other} beside it, expected --do_eval alone: it runs beside the training, in a "
                "process of its own, on a CPU or a GPU"
            )
        if self.use_tpu and self.distribution not in ("auto", "none"):
            raise InputError(f"--distribution: found {self.distribution}, expected auto or none with --use_tpu")
        self._check_numbers()
        self._check_batch(self.train_batch_size, "train_batch_size", self.gradient_accumulation_steps)
        self._check_batch(self.eval_batch_size, "eval_batch_size", 1)

    def _check_numbers(self) -> None:
        positive = ["train_batch_size", "eval_batch_size", "gradient_accumulation_steps", "learning_rate", "log_steps"]
        positive += ["num_train_steps", "save_checkpoints_steps", "num_tpu_cores", "shuffle_buffer_size"]
        lengths = ("max_seq_length", "max_questions_per_seq", "max_predictions_per_seq")
        for name in (*positive, *(name for name in lengths if getattr(self, name) is not None)):
            if getattr(self, name) <= 0:
                raise InputError(f"--{name}: found {getattr(self, name)}, expected more than 0")
        not_negative = ("num_warmup_steps", "keep_checkpoint_max", "iterations_per_loop", "eval_every_steps")
        for name in (*not_negative, "max_eval_steps", "random_seed", "keep_checkpoint_every_steps"):
            if getattr(self, name) < 0:
                raise InputError(f"--{name}: found {getattr(self, name)}, expected 0 or more")
        if self.num_warmup_steps > self.num_train_steps:
            raise InputError(
                f"--num_warmup_steps: found {self.num_warmup_steps}, expected at most --num_train_steps "
                f"{self.num_train_steps}"
            )
        if self.only_recurring_span_selection and self.recurring_span_selection is False:
            raise InputError("found no objective: --only_recurring_span_selection needs --recurring_span_selection")

    def _check_batch(self, size: int, name: str, parts: int) -> None:
        cores = self.num_tpu_cores if self.use_tpu else 1
        if size % (cores * parts):
            by = f"{cores} cores" + (f" times {parts} accumulation steps" if parts > 1 else "")
            raise InputError(f"--{name}: found {size}, expected a multiple of {by}")

    @property
    def steps_per_run(self) -> int:
        """Updates between two looks of the host: on a TPU a loop of them, by default to the next checkpoint."""
        return (self.iterations_per_loop or self.save_checkpoints_steps) if self.use_tpu else 1

    def objectives(self, in_dataset: RecordSpec | None) -> tuple[bool, bool]:
        """Whether span selection and whether masked LM are wanted: as the two flags say; by the one that is not given,
        what the records hold, and where nobody tells what they hold, masked LM alone.
        """
        spans, only = self.recurring_span_selection, self.only_recurring_span_selection
        if spans is None:
            spans = bool(only) or (in_dataset is not None and in_dataset.max_questions_per_seq > 0)
        if only is None:
            only = spans and in_dataset is not None and not in_dataset.max_predictions_per_seq
        return spans, not (spans and only)

    def with_objectives_of(self, spec: RecordSpec) -> "PretrainingSettings":
        """The same with both flags of span selection given."""
        return replace(
            self,
            recurring_span_selection=spec.max_questions_per_seq > 0,
            only_recurring_span_selection=not spec.max_predictions_per_seq,
        )

    def record_spec(self, in_dataset: RecordSpec | None) -> RecordSpec:
        """Features to read: lengths as in the flags, else as in dataset.json, else the paper's."""

        def limit(flag: int | None, attribute: str, default: int) -> int:
            if flag is not None:
                return flag
            return getattr(in_dataset, attribute) or default if in_dataset else default

        spans, masked_lm = self.objectives(in_dataset)
        questions = limit(self.max_questions_per_seq, "max_questions_per_seq", MAX_QUESTIONS_PER_SEQ)
        predictions = limit(self.max_predictions_per_seq, "max_predictions_per_seq", MAX_PREDICTIONS_PER_SEQ)
        return RecordSpec(
            max_seq_length=limit(self.max_seq_length, "max_seq_length", MAX_SEQ_LENGTH),
            max_questions_per_seq=questions if spans else 0,
            max_predictions_per_seq=predictions if masked_lm else 0,
        )
