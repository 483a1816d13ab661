"""Marks of speech and privacy, and that no question is made of them."""

import json
import time
from pathlib import Path

import pytest

from data_gen.corpora.base import ReaderOptions
from data_gen.corpora.speech_marks import SpeechMarks
from data_gen.runs.pipeline import run
from data_gen.spans.stopwords import load_stopwords
from tests.data_gen.small_corpus import config_for, write_vocabulary


@pytest.mark.parametrize(
    ("spoken", "plain"),
    [
        ("{laughing} 갔는데 {clearing}", "갔는데"),
        ("{share:photo} {system: gift} {emoji} 봐", "봐"),
        ("아 -그러- 그러니까 -한 강- 한강", "아 그러니까 한강"),
        ("코로나-19 3-4 - 끝 --", "코로나-19 3-4 끝"),
        ("(()) ((xx)) ((도서관에)) ((xx도서관)) ( 괄호 )", "도서관에 도서관 ( 괄호 )"),
        ("&name1& 씨랑 &name12&이가 &affiliation1& R&D A&B", "아무개 씨랑 아무개이가 모처 R&D A&B"),
        ("#@이름#야 #@이름1# #@전번# #@시스템#동영상# #@URL# #해시태그#", "아무개야 아무개 아무개 #해시태그#"),
        ("b/ (70%)/(칠십 퍼센트) o/ 그+ 그게 어/ 도서관* l/ n/", "70% 그 그게 어 도서관"),
        ("km/h 1/2 (가)/나 A*B", "km/h 1/2 (가)/나 A*B"),
    ],
)
def test_speech(spoken: str, plain: str):
    assert " ".join(SpeechMarks(ReaderOptions()).speech(spoken).split()) == plain


def test_marks_may_be_removed_or_kept():
    text = "&name1&이 {laughing} #@주소#에 -그- 갔다"
    removed = SpeechMarks(ReaderOptions(anonymised_speech="remove")).speech(text)
    assert " ".join(removed.split()) == "이 에 갔다"
    kept = SpeechMarks(ReaderOptions(anonymised_speech="keep", unheard_speech="keep")).speech(text)
    assert kept == text


MARKS = "{laughing} &name1&이가 -그러- {share:photo} &company-name& &name2&은 #@이름#이랑 ((xx)) #@전번#으로 (()) "
AI_HUB = {"data": [{"body": [{"participantID": "P1", "utterance": MARKS + ". 서울에서 한강을 본다."}] * 9}]}
NIKL = {"document": [{"utterance": [{"form": MARKS + ". 서울에서 한강을 본다.", "speaker_id": "1"}] * 9}]}


@pytest.mark.parametrize("corpus", [AI_HUB, NIKL])
@pytest.mark.parametrize("boundary", ["all", "particle"])
def test_no_question_is_made_of_a_mark(tmp_path: Path, corpus: dict, boundary: str):
    known = write_vocabulary(tmp_path / "vocab").read_text(encoding="utf-8").split()
    words = (
        "아무개 모처 ##이 ##가 ##은 ##랑 ##으 ##로 name company laughing share photo 그러 이름 전번 xx { } & # @ - ("
    )
    (tmp_path / "vocab").write_text("\n".join(dict.fromkeys(known + words.split())) + "\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text(json.dumps(corpus, ensure_ascii=False), encoding="utf-8")
    run(config_for(tmp_path, span_boundary=boundary, stopwords=load_stopwords("ko")))
    ngrams = [line.split("\t")[0] for line in (tmp_path / "out" / "ngrams.txt").read_text().splitlines()]
    assert any("서울" in ngram for ngram in ngrams)
    for mark in ("name", "company", "laughing", "share", "photo", "그러", "이름", "전번", "xx", "아무개", "모처"):
        assert not [ngram for ngram in ngrams if mark in ngram.split()], ngrams


def test_a_mark_that_does_not_close_takes_no_time():
    marks = SpeechMarks(ReaderOptions())
    before = time.process_time()
    for opened in ("((" + "x" * 3000, "((" * 3000, "-" * 3000 + "가", "#@" + "가" * 3000):
        assert marks.speech(opened)
    assert time.process_time() - before < 2
    assert marks.speech("((xx도서관xx))에 ((x)) ((text))") == "도서관에   text"
