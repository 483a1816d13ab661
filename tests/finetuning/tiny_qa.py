"""Tiny models, a Korean vocabulary of syllables, and questions with a pattern to learn, that tests share."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertTokenizer,
    ElectraConfig,
    ElectraForQuestionAnswering,
    RobertaConfig,
    RobertaForQuestionAnswering,
    SplinterConfig,
    SplinterForQuestionAnswering,
    SplinterTokenizer,
)

from finetuning.modeling import ModelWithQASSHead, QASSConfig

SPECIAL_TOKENS = ("[QUESTION]", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # KoSplinter's order
CITY_NAMES = "서울 부산 대구 인천 광주 대전 울산 수원 창원 고양 용인 성남 청주 전주 천안 안산"
PERSON_NAMES = """김민수 이영희 박철수 최지우 정다은 강호동 윤서준 임하늘 한가람 오세훈 신유진 권도현 황보라 안중근
송강호 류현진"""
CITIES, PEOPLE = CITY_NAMES.split(), PERSON_NAMES.split()
OTHER_SYLLABLES = "은에서태어났다지금도살며날마다강가를걷는누가어디는가?가나각질문본문이야기abcdeXYZ0123456789"
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def question_file(path: Path, first: int = 0, last: int = len(CITIES)) -> Path:
    """KorQuAD-format questions about who lives where; josa are glued to the answers."""
    articles = []
    for i in range(first, last):
        city, person = CITIES[i], PEOPLE[i]
        context = f"{person}은 {city}에서 태어났다. 지금도 {city}에 살며 날마다 강가를 걷는다."
        qas = [
            {"id": f"{i}-who", "question": "누가 태어났는가?", "answers": [{"text": person, "answer_start": 0}]},
            {
                "id": f"{i}-where",
                "question": "어디에서 태어났는가?",
                "answers": [{"text": city, "answer_start": context.index(city)}],
            },
        ]
        articles.append({"title": f"{person} 이야기", "paragraphs": [{"context": context, "qas": qas}]})
    path.write_text(json.dumps({"version": "test", "data": articles}, ensure_ascii=False), encoding="utf-8")
    return path


def vocabulary(with_question: bool = True) -> dict[str, int]:
    """Special tokens, punctuation, and every syllable of the texts above, alone and as ##."""
    texts = "".join([*CITIES, *PEOPLE, OTHER_SYLLABLES])
    syllables = sorted(set(texts))
    specials = [token for token in SPECIAL_TOKENS if with_question or token != "[QUESTION]"]
    pieces = [*specials, ".", ",", "!", "(", ")", *syllables, *("##" + syllable for syllable in syllables)]
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


def splinter_tokenizer() -> Any:
    return SplinterTokenizer(vocab=vocabulary(), do_lower_case=False, strip_accents=False)


def qass_folder(path: Path, **config: Any) -> Path:
    """A ModelWithQASSHead as the converter writes one."""
    pieces = vocabulary()
    torch.manual_seed(0)
    ids = {"question_token_id": pieces["[QUESTION]"], "pad_token_id": pieces["[PAD]"]}
    ModelWithQASSHead(QASSConfig(vocab_size=len(pieces), **SIZES, **ids, **config)).save_pretrained(path)
    splinter_tokenizer().save_pretrained(path)
    return path


def splinter_folder(path: Path) -> Path:
    """A stock Splinter."""
    pieces = vocabulary()
    torch.manual_seed(0)
    ids = {"question_token_id": pieces["[QUESTION]"], "pad_token_id": pieces["[PAD]"]}
    SplinterForQuestionAnswering(SplinterConfig(vocab_size=len(pieces), **SIZES, **ids)).save_pretrained(path)
    splinter_tokenizer().save_pretrained(path)
    return path


def electra_folder(path: Path) -> Path:
    """As KoELECTRA: a smaller embedding, and a tokenizer of BERT."""
    pieces = vocabulary()
    torch.manual_seed(0)
    config = ElectraConfig(vocab_size=len(pieces), embedding_size=16, pad_token_id=pieces["[PAD]"], **SIZES)
    ElectraForQuestionAnswering(config).save_pretrained(path)
    BertTokenizer(vocab=pieces, do_lower_case=False, strip_accents=False).save_pretrained(path)
    return path


def klue_roberta_folder(path: Path) -> Path:
    """As KLUE's RoBERTa: one token type, positions that begin behind the padding id, and a tokenizer of BERT."""
    pieces = vocabulary()
    torch.manual_seed(0)
    sizes = SIZES | {"max_position_embeddings": 514}
    config = RobertaConfig(vocab_size=len(pieces), type_vocab_size=1, pad_token_id=pieces["[PAD]"], **sizes)
    RobertaForQuestionAnswering(config).save_pretrained(path)
    BertTokenizer(vocab=pieces, do_lower_case=False, strip_accents=False).save_pretrained(path)
    return path


def bert_folder(path: Path, with_question: bool = True) -> Path:
    """A plain BERT with a linear head."""
    pieces = vocabulary(with_question)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(pieces), pad_token_id=pieces["[PAD]"], **SIZES)
    BertForQuestionAnswering(config).save_pretrained(path)
    BertTokenizer(vocab=pieces, do_lower_case=False, strip_accents=False).save_pretrained(path)
    return path
