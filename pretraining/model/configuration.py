"""The model's configuration: one file format, and the rule that tells ours from the public TensorFlow systems'."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kosplinter_common.cli import InputError
from kosplinter_common.files import read_json_object

# Only configs of this project have this key: it says that `hidden_act` has Hugging Face's meaning.
OWN_CONFIG_KEY = "qass_layer_norm_eps"
PUBLIC_LAYER_NORM_EPS = 1e-12
KERAS_LAYER_NORM_EPS = 1e-3
# Pieces of KoELECTRA's vocabulary, which KoSplinter has: layer norms trained with 1e-3, whatever their names are now.
KOSPLINTER_VOCAB_SIZE = 35_000
TANH_GELU = "gelu_pytorch_tanh"

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh")


@dataclass(frozen=True)
class BertConfig:
    """Sizes and constants of the encoder and of QASS, under Hugging Face's names and with their meaning."""

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"  # "gelu" is the exact erf form; gelu_new and gelu_pytorch_tanh are the tanh form
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2  # of the converted model: pretraining has no token types
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12  # of the encoder and of the masked LM head
    qass_layer_norm_eps: float = 1e-5
    pad_token_id: int | None = None
    question_token_id: int | None = None

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        for name in (*sizes, "max_position_embeddings", "type_vocab_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name}: found {value!r}, expected a positive whole number")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < 1:
                raise InputError(f"{name}: found {value!r}, expected a number from 0 to below 1")
        for name in ("initializer_range", "layer_norm_eps", "qass_layer_norm_eps"):
            value = getattr(self, name)
            if not _is_number(value) or value <= 0:
                raise InputError(f"{name}: found {value!r}, expected a number above 0")
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size: found {self.hidden_size}, expected a multiple of "
                f"num_attention_heads ({self.num_attention_heads})"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise InputError(f"hidden_act: found {self.hidden_act!r}, expected one of {', '.join(ACTIVATIONS)}")

    @classmethod
    def from_json_file(cls, path: str | Path, keras_layer_norm: bool = False) -> "BertConfig":
        """Reads a config of this project or of the public TensorFlow systems; the result speaks Hugging Face's terms.

        A config without `qass_layer_norm_eps` is a public one: there "gelu" means the tanh form and both epsilons are
        1e-12, or 1e-3 with `keras_layer_norm`: where the checkpoint's layer norms are named layer_normalization_K.

        Args:
          path: JSON file; keys that are not fields of this class (the pooler's, for instance) are passed over.
          keras_layer_norm: the checkpoint comes from Keras's LayerNormalization; a config of ours ignores this.

        Raises:
          InputError: no such file, broken JSON, no vocab_size, or a value that cannot be.
        """
        path = Path(path)
        values = read_json_object(path, "a config")
        if "vocab_size" not in values:
            raise InputError(f"{path}: found no vocab_size, expected a JSON object of the model's sizes")
        known = {field.name for field in dataclasses.fields(cls)}
        fields = {name: value for name, value in values.items() if name in known}
        if OWN_CONFIG_KEY not in values:
            epsilon = KERAS_LAYER_NORM_EPS if keras_layer_norm else PUBLIC_LAYER_NORM_EPS
            fields |= {"layer_norm_eps": epsilon, "qass_layer_norm_eps": epsilon}
            if fields.get("hidden_act", "gelu") == "gelu":
                fields["hidden_act"] = TANH_GELU
        try:
            return cls(**fields)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def with_layer_norm_eps(config: BertConfig, epsilon: float, config_is_ours: bool) -> BertConfig:
    """The config with another epsilon: of the encoder, and in a public system, which has one for both, of QASS too."""
    qass = config.qass_layer_norm_eps if config_is_ours else epsilon
    return dataclasses.replace(config, layer_norm_eps=epsilon, qass_layer_norm_eps=qass)


def is_own_config(path: str | Path) -> bool:
    """Whether a config is one of this project, which says itself what its epsilons are."""
    return OWN_CONFIG_KEY in read_json_object(Path(path), "a config")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
