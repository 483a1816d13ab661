"""docs/CORPORA.md: each corpus of its table has a sample here, which is read as the table says."""

import json
import re
from pathlib import Path

import pytest

from data_gen.corpora import json_layouts
from data_gen.corpora.detection import FORMATS
from data_gen.corpora.json_layouts import JSON_LAYOUTS
from tests.data_gen.corpora.test_line_layouts import read

TABLE = Path(__file__).resolve().parents[3] / "docs" / "CORPORA.md"


def speech(*turns: tuple[str, str], **more) -> list[dict]:
    return [{"id": "u", "form": text, "speaker_id": speaker, "note": "", **more} for speaker, text in turns]


QAS = [{"id": "q", "question": "누구인가?", "answers": [{"text": "나루", "answer_start": 0}]}]
NE = [{"id": 1, "form": "나루", "label": "PS_NAME", "text": "표지"}]
WORDS = [{"id": 1, "form": "어절"}]
SQUAD = {
    "version": "1",
    "data": [
        {"title": "글", "paragraphs": [{"context": "첫 문단.", "qas": QAS * 2}, {"context": "둘째.", "qas": QAS}]}
    ],
}
ROWS = [
    {"id": str(n), "title": "글", "context": context, "question": "?", "answers": {"text": ["x"], "answer_start": [0]}}
    for n, context in enumerate(["첫 문단.", "첫 문단.", "둘째."])
]

# Corpus: (a file of it, its documents).
SAMPLES = {
    "모두의 말뭉치 신문": (
        {
            "id": "NWRW1",
            "metadata": {"title": "말뭉치"},
            "document": [
                {
                    "id": "1",
                    "metadata": {"title": "가상일보"},
                    "paragraph": [{"id": "p", "form": "제목"}, {"id": "p", "form": "본문이다."}],
                },
                {"id": "2", "paragraph": [{"form": "<p>R&amp;D 예산</p><p>둘째 문단</p>"}]},
            ],
        },
        [["제목", "본문이다."], ["R&D 예산", "둘째 문단"]],
    ),
    "모두의 말뭉치 문어": (
        {
            "document": [
                {"metadata": {"author": "나"}, "paragraph": [{"form": "장 하나 - 부제", "original_form": "원문"}]}
            ]
        },
        [["장 하나 - 부제"]],
    ),
    "모두의 말뭉치 웹, 온라인 게시 자료": (
        {"document": [{"paragraph": [{"form": "", "original_form": "글 &name& 님"}]}]},
        [["글 아무개 님"]],
    ),
    "모두의 말뭉치 구어, 일상 대화": (
        {
            "document": [
                {
                    "utterance": speech(
                        ("1", "{laughing} 그 -도서- 도서관에"),
                        ("1", "&name1&이랑 ((갔어))"),
                        ("2", "(()) ((xx)) - 네~"),
                    )
                }
            ]
        },
        [["그 도서관에 아무개이랑 갔어", "네~"]],
    ),
    "모두의 말뭉치 메신저, 온라인 대화": (
        {
            "document": [
                {
                    "utterance": speech(
                        ("1", "이거 봐 {share:photo}"),
                        ("2", "{emoji}"),
                        ("1", "{system: gift} &company-name&"),
                        time="x",
                    )
                }
            ]
        },
        [["이거 봐", "모처"]],
    ),
    "모두의 말뭉치 국회 회의록": (
        {
            "id": "SBRW1",
            "metadata": {},
            "document": {"id": "1", "utterance": speech(("가", "개의합니다."), ("나", "찬성이오."))},
        },
        [["개의합니다.", "찬성이오."]],
    ),
    "모두의 말뭉치 개체명": (
        {"document": [{"sentence": [{"form": "나루가 왔다.", "word": WORDS, "NE": NE}, {"form": "갔다.", "NE": []}]}]},
        [["나루가 왔다.", "갔다."]],
    ),
    "모두의 말뭉치 형태 분석": (
        {
            "document": {
                "sentence": [{"form": "나루가 왔다.", "word": WORDS, "morpheme": [{"form": "나루", "label": "NNP"}]}]
            }
        },
        [["나루가 왔다."]],
    ),
    "모두의 말뭉치 비출판물 (CSV, TSV)": (
        'number\tfile_id\tsentence\n1\tA\t"첫 문장.\n2\tA\t둘째."\n3\tB\t셋째.\n',
        [['"첫 문장.', '둘째."'], ["셋째."]],
    ),
    "AI Hub 전문분야 말뭉치 A": (
        {"data": [{"title": "글", "rows": [{"text": "하나."}, {"text": "둘."}]}]},
        [["글", "하나.", "둘."]],
    ),
    "AI Hub 전문분야 말뭉치 B (논문, 특허)": (
        [
            {"doc_id": doc, "title": "글", "sentno": n, "text": f"{n}.", "NE": NE}
            for doc, n in (("1", 1), ("1", 2), ("2", 3))
        ],
        [["글", "1.", "2."], ["글", "3."]],
    ),
    "AI Hub 전문분야 말뭉치 B (법령, 판례)": (
        {
            "data": [
                {"doc_id": 1, "title": "판례", "sentno": n, "sentence": [{"text": f"{n}.", "NE": NE}], "text": f"{n}."}
                for n in (1, 2)
            ]
        },
        [["판례", "1.", "2."]],
    ),
    "AI Hub 대규모 구매도서 기반 한국어 말뭉치": (
        {"paragraphs": [{"info": {"kdc": "8"}, "sentences": [{"original_text": "하나."}, {"text": "둘."}]}]},
        [["하나.", "둘."]],
    ),
    "AI Hub 대규모 구매도서 (TSV)": ("B.1.1\t하나.\tx\nB.1.2\t둘.\nB.2.1\t셋.\n", [["하나.", "둘."], ["셋."]]),
    "AI Hub 대규모 웹데이터 기반 한국어 말뭉치, 온라인 구어체 말뭉치": (
        {
            "named_entity": [
                {
                    "title": [{"sentence": "제목", "labels": NE}],
                    "subtitle": [],
                    "content": [{"sentence": "#@이름#의 글", "labels": NE}],
                }
            ]
        },
        [["제목", "아무개의 글"]],
    ),
    "AI Hub 웹데이터 (SJML)": (
        {
            "SJML": {
                "header": {"name": "웹"},
                "text": [{"title": "제목", "subtitle": "", "content": "하나.\n둘.", "board": "b"}, {"content": "셋."}],
            }
        },
        [["제목", "하나.", "둘."], ["셋."]],
    ),
    "AI Hub 의료·법률 전문서적 말뭉치": (
        {"data": [{"book_id": "b", "keyword": ["k"], "text": "하나.\n둘."}]},
        [["하나.", "둘."]],
    ),
    "AI Hub 문서요약 텍스트": (
        {
            "name": "요약",
            "documents": [
                {
                    "title": "글",
                    "text": [[{"sentence": "하나."}, {"sentence": "둘."}], [{"sentence": "셋."}]],
                    "abstractive": ["요약."],
                }
            ],
        },
        [["글", "하나. 둘.", "셋."]],
    ),
    "AI Hub 논문자료 요약": (
        [
            {
                "data": [
                    {
                        "title": "글",
                        "summary_entire": [{"orginal_text": "초록.", "summary_text": "요약"}],
                        "summary_section": [{"orginal_text": "절."}],
                    }
                ]
            }
        ],
        [["글", "초록.", "절."]],
    ),
    "AI Hub 도서자료 요약": ({"passage_id": 1, "passage": "본문이다.", "summary": "요약"}, [["본문이다."]]),
    "AI Hub 요약문 및 레포트 생성 데이터": (
        {"Meta(Refine)": {"passage": "본문이다."}, "Annotation": {"summary1": "요약"}},
        [["본문이다."]],
    ),
    "AI Hub 한국어 대화 요약": (
        {
            "data": [
                {
                    "header": {},
                    "body": {
                        "dialogue": [
                            {"participantID": "P1", "utterance": "밥 #@이름#"},
                            {"participantID": "P1", "utterance": "먹자"},
                        ],
                        "summary": "요약",
                    },
                }
            ]
        },
        [["밥 아무개 먹자"]],
    ),
    "AI Hub 한국어 SNS": (
        {
            "data": [
                {
                    "header": {},
                    "body": [
                        {"participantID": "P1", "utterance": "#@시스템#사진#"},
                        {"participantID": "P2", "utterance": "#@주소# 좋다 #@이모티콘#"},
                    ],
                }
            ]
        },
        [["모처 좋다"]],
    ),
    "AI Hub 한국어 방언 발화, 자유대화 음성": (
        {
            "id": "D",
            "metadata": {},
            "speaker": [{"id": "1"}],
            "utterance": [
                {
                    "form": "(가노)/(가나)",
                    "standard_form": "가니 {laughing}",
                    "dialect_form": "가노",
                    "speaker_id": "1",
                },
                {"form": "(7시)/(일곱 시) n/", "speaker_id": "2"},
            ],
        },
        [["가니", "7시"]],
    ),
    "AI Hub 주제별 텍스트 일상 대화 데이터": (
        {
            "info": [
                {
                    "annotations": {
                        "lines": [
                            {"text": "1 : 안녕", "norm_text": "안녕", "speaker": {"id": "1번"}, "speechAct": "x"},
                            {"norm_text": "그래", "speaker": {"id": "1번"}},
                        ]
                    }
                }
            ]
        },
        [["안녕 그래"]],
    ),
    "AI Hub 한국어 멀티세션 대화": (
        {
            "FileInfo": {},
            "sessionInfo": [
                {
                    "prevAggregatedpersonaSummary": {},
                    "dialog": [
                        {"speaker": "speaker1", "utterance": "안녕"},
                        {"speaker": "speaker2", "utterance": "네"},
                    ],
                }
            ],
        },
        [["안녕", "네"]],
    ),
    "AI Hub 기계독해 (일반상식, 뉴스, 행정, 도서자료)": (
        {
            "data": [
                {
                    "doc_id": 1,
                    "title": "글",
                    "paragraphs": [
                        {
                            "context_id": 1,
                            "context": "첫 문단.",
                            "qas": [{"question": "?", "answers": {"text": "x", "clue_text": "y"}}],
                        }
                    ],
                }
            ]
        },
        [["글", "첫 문단."]],
    ),
    "KorQuAD 1.0, SQuAD, KLUE-MRC": (SQUAD, [["글", "첫 문단.", "둘째."]]),
    "KorQuAD 2.0": (
        {
            "data": [
                {
                    "title": "글",
                    "url": "u",
                    "context": "<html><head><title>x</title></head><body><h1>절</h1><p>첫 <b>문단</b> A&amp;B.</p>"
                    "<table><tr><td>가</td><td>나</td></tr></table></body></html>",
                    "raw_html": "<p>밖</p>",
                    "qas": QAS,
                }
            ]
        },
        [["글", "절", "첫 문단 A&B.", "가 나"]],
    ),
    "SQuAD as datasets exports it (`data`, a list, or a line each)": (
        {"version": "1", "data": ROWS},
        [["글", "첫 문단."], ["글", "둘째."]],
    ),
    "a list of paragraphs": (
        [{"context": "첫 문단.", "qas": QAS}, {"context": "둘째.", "qas": QAS}],
        [["첫 문단."], ["둘째."]],
    ),
    "a list of texts": (["첫 글.\n이어서.", "둘째 글."], [["첫 글.", "이어서."], ["둘째 글."]]),
    "one JSON object, on however many lines": (
        '{\n  "id": 1,\n  "text": "첫 줄.\\n둘째 줄."\n}\n',
        [["첫 줄.", "둘째 줄."]],
    ),
    "JSON Lines": (
        '{"id": "1", "url": "u", "title": "글", "text": "속력은 formula_12이다."}\n{"text": "둘째."}\n',
        [["속력은 이다."], ["둘째."]],
    ),
    "나무위키 dump": (
        [{"namespace": "0", "title": "글", "text": "== 개요 ==\n본문.", "contributors": ["가"]}],
        [["글", "== 개요 ==", "본문."]],
    ),
    "WikiExtractor": (
        '<doc id="1" url="u" title="글">\n글\n\nformula_1은 A&amp;B이다.\n</doc>\n'
        '<doc id="2" title="둘">\n둘\n</doc>\n',
        [["글", "은 A&B이다."], ["둘"]],
    ),
    "wikitext, KoWikiText, NamuWikiText": (
        " \n = 글 = \n \n 첫 문단 3 @-@ 4 <unk> 끝 . \n \n = = 절 = = \n \n 둘째 . \n = 다음 = \n셋째 .\n",
        [["글", "첫 문단 3-4 끝 .", "절", "둘째 ."], ["다음", "셋째 ."]],
    ),
    "plain text": ("[서울=통신] 첫 줄.\n둘째 줄.\n\n다음 글.\n", [["[서울=통신] 첫 줄.", "둘째 줄."], ["다음 글."]]),
    "BookCorpus, tokenised": (
        "he said , `` no '' .\n-LRB- she left . -RRB-\n\nwhy ? because . so !\n",
        [['he said , " no " .', "( she left . )"], ["why ? because . so !"]],
    ),
}


def rows() -> dict[str, str]:
    """Corpus and layout of each row of the table."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line != lines[0]]
    return {corpus.strip(): layout.strip() for corpus, layout, *_ in cells}


def test_every_corpus_of_the_table_has_a_sample_and_every_layout_a_row():
    assert list(rows()) == list(SAMPLES)
    ours = {layout.name for layout in JSON_LAYOUTS} | FORMATS.keys() - {"json"}
    assert set(rows().values()) == ours


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("corpus", SAMPLES)
def test_corpora_are_read_as_the_table_says(tmp_path: Path, corpus: str, indent: int | None):
    content, documents = SAMPLES[corpus]
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=indent)
    found, skipped = read(tmp_path, text)
    assert found == documents
    assert set(skipped) <= {"context repeated for a further question"}


@pytest.mark.parametrize("corpus", [corpus for corpus in SAMPLES if not isinstance(SAMPLES[corpus][0], str)])
def test_the_layout_of_the_row_alone_reads_the_sample(tmp_path: Path, corpus: str, monkeypatch: pytest.MonkeyPatch):
    content, documents = SAMPLES[corpus]
    named = tuple(layout for layout in JSON_LAYOUTS if layout.name == rows()[corpus])
    monkeypatch.setattr(json_layouts, "JSON_LAYOUTS", named)
    assert read(tmp_path, json.dumps(content, ensure_ascii=False, indent=1))[0] == documents
