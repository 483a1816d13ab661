"""What is read in place of a character that a vocabulary lacks."""

import pytest

from kosplinter_common.characters import replacements

ASCII = [*map(chr, range(33, 127)), "##a"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *(("“인용” ‘안’", "\"인용\" '안'"), ("1–2—3−4", "1-2-3-4"), ("네…⋯", "네......"), ("《책》「말」", '"책""말"')),
        *(("Ａｂ９！（％）", "Ab9!(%)"), ("가·나ㆍ다", "가,나,다"), ("〜∼～", "~~~"), ("【1】、。", "[1],.")),
    ],
)
def test_signs_become_what_people_would_type(written: str, read: str) -> None:
    table = replacements(ASCII)
    assert "".join(table.get(character, character) for character in written) == read


def test_what_a_vocabulary_has_is_left_alone() -> None:
    table = replacements([*ASCII, "“", "…", "·", "##Ａ", "가Ｂ"])
    assert not table.keys() & set("“…·ＡＢ")
    assert table["”"] == '"' and table["ㆍ"] == "·" and table["Ｃ"] == "C"


def test_a_sign_inside_another_token_is_no_token() -> None:
    assert replacements([*ASCII, "##…"])["…"] == "..."


def test_nothing_is_replaced_by_what_is_missing_too() -> None:
    assert replacements(["a", ".", '"']).keys() & set("‘–Ａ") == set()


def test_lower_cased_vocabularies_know_capitals() -> None:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    assert replacements(letters, do_lower_case=True)["Ａ"] == "A"
    assert "Ａ" not in replacements(letters) and "Ａ" not in replacements(["ａ", *letters], do_lower_case=True)
