from pathlib import Path

import pytest

from data_gen.spans.stopwords import load_stopwords
from kosplinter_common.cli import InputError


def test_none():
    assert load_stopwords("none") == frozenset()


@pytest.mark.parametrize(
    "words",
    [
        "은 는 이 가 을 를 의 에서 이다 라고",
        "있다 있는 있었다 있습니다 없다 없는 하는 하였다 했다 된다 않는다 아니라 싶다 같은 위해 대한 따라",
        "것 것은 것이다 수 수도 등 때문에 바 데 뿐만 정도 년 명의",
        "그 그는 그의 그것은 이것이 우리는 자신의 누구나",
        "이 그 저 이런 그러한 모든 다른 여러",
        "그리고 그러나 하지만 또는 및 따라서",
        "하나 둘 세 1 2 첫째",
    ],
)
def test_korean_groups(words: str):
    assert not set(words.split()) - load_stopwords("ko")


def test_korean_list_spares_content():
    content = "대한민국 서울 대통령 사람 정부 경제 문화 역사 1945 세종대왕 시간 법원 계약 함수 바다 이자 지도"
    assert not set(content.split()) & load_stopwords("ko")


def test_english_list():
    words = load_stopwords("en")
    assert {"the", "of", "was", "it", "themselves", "someone", "don", "t", "and", "not", "two"} <= words
    assert not {"president", "city", "1984", "war", "water"} & words


@pytest.mark.parametrize("name", ["ko", "en"])
def test_shipped_lists_hold_single_lower_case_words(name: str):
    words = load_stopwords(name)
    assert all(word and word == word.lower() and not set(word) & set(" +-#") for word in words)


def test_own_file(tmp_path: Path):
    path = tmp_path / "words.txt"
    path.write_text("\ufeff# 내 목록\nThe 그냥  # 뒷말\n것 수 + - 은 이\n\n", encoding="utf-8")
    assert load_stopwords(str(path)) == {"the", "그냥", "것", "것은", "것이", "수", "수은", "수이"}


def test_wrong_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="stop words: found 'kr', expected ko, en, none or a file"):
        load_stopwords("kr")
    path = tmp_path / "cp949.txt"
    path.write_bytes("그냥".encode("cp949"))
    with pytest.raises(InputError, match=r"cp949\.txt: stop words are not UTF-8"):
        load_stopwords(str(path))
