"""Words that alone are no span worth asking for; the shipped lists argue each of their groups."""

from itertools import product
from pathlib import Path

from data_gen.corpora.cleaning import clean_text
from kosplinter_common.cli import InputError

_LISTS = Path(__file__).parent / "stopword_lists"
_SHIPPED = {"ko": _LISTS / "ko.txt", "en": _LISTS / "en.txt"}
STOPWORD_LISTS = (*_SHIPPED, "none")


def load_stopwords(name_or_path: str) -> frozenset[str]:
    """Lower-cased words of a shipped list ("ko", "en"), of a file, or none at all ("none").

    A file holds words between white space; "#" begins a comment; a line "A B + c d" stands for Ac, Ad, Bc and Bd,
    where a lone "-" behind the plus is the empty ending.

    Raises:
      InputError: no such list or file, or it is not UTF-8.
    """
    if name_or_path == "none":
        return frozenset()
    path = _SHIPPED.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise InputError(f"stop words: found {name_or_path!r}, expected ko, en, none or a file")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: stop words are not UTF-8: {error}") from error
    return frozenset(word for line in lines for word in _words(line))


def _words(line: str) -> list[str]:
    before, plus, after = clean_text(line.split("#")[0]).lower().partition(" + ")
    if not plus:
        return before.split()
    endings = ["" if ending == "-" else ending for ending in after.split()]
    return ["".join(pair) for pair in product(before.split(), endings)]
