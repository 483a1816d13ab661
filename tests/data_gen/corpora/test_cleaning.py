import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen.corpora.cleaning import clean_text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (unicodedata.normalize("NFD", "한글 문서"), "한글 문서"),
        ("\ufeff서울\u200b특별시\u00ad는", "서울특별시는"),
        ("\u202a왼쪽\u202c \u2066오른쪽\u2069", "왼쪽 오른쪽"),
        ("종\x00소\x07리\x9f", "종소리"),
        ("  여러\t칸\u00a0띄고\u3000 쓴\x0b글\r\n", "여러 칸 띄고 쓴 글"),
        ("이름\u3164없음\uffa0", "이름 없음"),
        ("깨진\ufffd글자 \ud800", "깨진 글자"),
        ("\uf90a 원", "金 원"),  # a compatibility Hanja and the unified one are one word
        ("ㅋㅋㅋ ㅠㅠ", "ㅋㅋㅋ ㅠㅠ"),  # Jamo as chat writes them stay as they are
        ("가족 👨\u200d👩\u200d👧", "가족 👨\u200d👩\u200d👧"),  # joined emoji are another sign than three in a row
        ("사랑❤\ufe0f", "사랑❤"),
        ("\u1112\u119e\u11ab\u115f\u1161", "\u1112\u119e\u11ab\u115f\u1161"),  # old Hangul has no precomposed form
        ("韓國 (한국), 1,000원!", "韓國 (한국), 1,000원!"),
        ("\u200b \ufeff", ""),
    ],
)
def test_clean_text(raw: str, clean: str):
    assert clean_text(raw) == clean


@given(st.text())
def test_clean_text_is_clean(raw: str):
    text = clean_text(raw)
    assert clean_text(text) == text
    assert unicodedata.is_normalized("NFC", text)
    assert " ".join(text.split()) == text
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)))
def test_syllables_survive(hangul: str):
    assert clean_text(hangul) == hangul
