"""Characters that a vocabulary may lack, and what is read in their place: “ as ", — as -, Ａ as A.

The public Splinter did so for seven quotes and dashes of its books, whatever its vocabulary had; here a character is
only replaced where it would become [UNK].
"""

import unicodedata
from collections.abc import Iterable

# Character: what may stand for it, the nearest first.
_STANDS_FOR = (
    dict.fromkeys("“”„‟″«»「」『』《》〝〞", ('"',))
    | dict.fromkeys("‘’‚‛′‹›〈〉´ʼʻ", ("'",))
    | dict.fromkeys("–—―‒‐‑−﹣", ("-",))
    | dict.fromkeys("…⋯", ("...",))
    | dict.fromkeys("·ㆍ・‧•∙⋅･", ("·", "ㆍ", ","))
    | dict.fromkeys("〜～∼", ("~",))
    | dict.fromkeys("【〔", ("[",))
    | dict.fromkeys("】〕", ("]",))
    | {"‥": ("..",), "․": (".",), "。": (".",), "、": (",",)}
)
_FULL_WIDTH = range(0xFF01, 0xFFE7)  # ASCII and currency signs, with the half-width forms in between


def replacements(tokens: Iterable[str], do_lower_case: bool = False) -> dict[str, str]:
    """{character: characters} for those that no token of a WordPiece vocabulary holds and others can stand for."""
    tokens = set(tokens)
    in_tokens = set().union(*tokens)
    found = {}
    for character, alternatives in {**_full_width_forms(), **_STANDS_FOR}.items():
        # A sign of punctuation is a word of its own: only the token that it is itself counts.
        known = tokens if unicodedata.category(character).startswith("P") else in_tokens
        read_as = character.lower() if do_lower_case else character
        if read_as in known:
            continue
        for other in alternatives:
            if set(other.lower() if do_lower_case else other) <= tokens:
                found[character] = other
                break
    return found


def _full_width_forms() -> dict[str, tuple[str, ...]]:
    wide = [chr(code) for code in _FULL_WIDTH if unicodedata.decomposition(chr(code)).startswith("<wide>")]
    return {character: (unicodedata.normalize("NFKC", character),) for character in wide}
