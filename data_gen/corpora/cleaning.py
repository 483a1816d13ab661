"""One written form for each text, so that the same words are the same characters."""

import re
import unicodedata

# Invisible characters that say nothing about the words around them are taken out; what they stood between joins:
#   C0/C1 controls but white space, the soft hyphen, zero-width space, word joiner, byte order mark, direction marks,
#   variation selectors (they choose a glyph, not a character), interlinear annotation and tag characters.
# Kept: ZERO WIDTH (NON-)JOINER, which tell emoji and words of other scripts apart, and the conjoining fillers
#   U+115F and U+1160, which carry a syllable of old Hangul.
_INVISIBLE_RANGES = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U000e0000-\U000e01ef"
)
# Characters that hold a place without a meaning: the Hangul fillers that chat users type as a blank, and what stands
# where a character was lost (a lone surrogate, the replacement character). As spaces they coin no false word.
_PLACEHOLDER_RANGES = "\u3164\uffa0\ud800-\udfff\ufffc\ufffd"
# White space but the plain space, as str.split knows it.
_SPACE_RANGES = "\t-\r\x1c-\x1f\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

_INVISIBLE = re.compile(f"[{_INVISIBLE_RANGES}]")
_PLACEHOLDER = re.compile(f"[{_PLACEHOLDER_RANGES}]")
_UNUSUAL = re.compile(f"[{_INVISIBLE_RANGES}{_PLACEHOLDER_RANGES}{_SPACE_RANGES}]")


def clean_text(text: str) -> str:
    """NFC text on one line: no control or invisible characters, each run of white space one space, none at the ends.

    NFC composes decomposed Hangul (files written on macOS) and maps the compatibility Hanja of KS X 1001 that only
    differ by reading (U+F900 and on) to the one unified character. Cleaning what is clean changes nothing.
    """
    text = text.strip()
    if "  " in text or _UNUSUAL.search(text):  # one search spares most lines the rest
        text = " ".join(_INVISIBLE.sub("", _PLACEHOLDER.sub(" ", text)).split())
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)
