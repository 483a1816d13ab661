"""Josa and eomi: what may follow a Korean noun within its eojeol without making it another word.

서울, 서울은, 서울에서, 서울에서부터의 and 서울이었다 all name 서울. Korean joins what English writes as separate words
(from, of, was) to the noun, so a span of wordpieces that ends inside an eojeol is still a whole word where the rest of
the eojeol is one of these strings.

In: case particles, delimiters (보조사) and their sequences, the plural 들, and the copula 이다 with its endings, which
inflects the predicate and not the noun.

Out: what derives another word, or more often does than not. 하다, 되다 and 시키다 make verbs (결정하다), and the
comitative 하고 is written like one of their forms (신청하고). 적, 화, 성, 님, 자 and 서 make nouns (신청서; so 서,
short for 에서, is out). So do the copula's forms of one syllable, 인 (한국인, "a Korean", against 수도인), 일 (휴일),
임 (선임), 고 (여고), and the vocatives 아, 야, 여.
"""

from itertools import product


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _joined(*slots: frozenset[str]) -> frozenset[str]:
    """One member of each slot, in order, written together."""
    return frozenset(map("".join, product(*slots)))


_CASE = _words("이 가 을 를 의")
_TOPIC = _words("은 는 도")
# Place, direction, source, means, company, likeness.
_ADVERBIAL = _words(
    "에 에서 에게 에게서 한테 한테서 께 께서 에다 에다가 에로 에게로 로 으로 로서 으로서 로써 으로써 와 과 랑 이랑 "
    "보다 처럼 만큼 같이 대로"
)
_RANGE = _words("부터 까지 에서부터 에게서부터 로부터 으로부터 에까지 에서까지 에게까지 로까지 으로까지")
_LIMIT = _words("만 조차 마저 뿐 뿐만 밖에")
_CHOICE = _words("이나 나 이나마 나마 이라도 라도 이든 든 이든지 든지 이야말로 야말로")

_JOSA = frozenset().union(
    *(_CASE, _TOPIC, _ADVERBIAL, _RANGE, _LIMIT, _CHOICE),
    _words("마다 마다의 만으로 만으로는 만으로도 커녕 은커녕 는커녕 치고 이며 며 이요 요"),
    _joined(_ADVERBIAL | _RANGE, _TOPIC | _LIMIT | _CHOICE | _words("의 요 는커녕")),  # 서울에서도, 서울까지의
    _joined(_ADVERBIAL, _words("만"), _CASE | _TOPIC),  # 서울에서만은
    _joined(_words("만 만큼 조차 마저 뿐 부터 까지"), _CASE | _TOPIC),  # like nouns, these take a case: 서울만이
)

# Endings behind the copula's stem 이, and those that may stand without it behind a vowel: 학교이다, 학교다.
_EITHER_ENDING = _words(
    "다 며 지만 면서 므로 니까 라고 라고는 라고도 라는 라며 라면 라면서 라서 라야 라도 라든가 라든지 라기보다 "
    "라기보다는 란 거나 든가 든지 더라도 죠 네요 군요"
)
_FULL_ENDING = _EITHER_ENDING | _words(
    "고 지 면 니 니만큼 자 라 던 기 기도 기는 기에 기만 기를 기가 기보다 기보다는 건 나 다가 다고 다는 냐 냐는 냐고 "
    "야 어서 어야 어도 에요 지요 구나 거든 겠다 겠지만 시다 시며 시고 시지만"
)
_PAST_ENDING = _words(
    "다 다가 다고 다는 다면 으며 고 지만 으나 으면 으므로 으니 으니까 던 던가 던지 는데 는데도 는지 는가 을 을까 을지 "
    "음 음을 음이 음은 음에도 기 기에 기도 거나 더라도 더라면 습니다 습니까 어요 죠 지요 네요 거든요 구나"
)
# The endings ㄴ, ㄹ, ㅁ and ㅂ close the stem's own syllable.
_FUSED = _words(
    "인데 인데도 인데다 인데요 인지 인지는 인지도 인지라 인가 인가요 인만큼 인즉 인들 "
    "일까 일까요 일지 일지도 일지라도 일뿐 일뿐만 일수록 일망정 임에도 입니다 입니다만 입니까 이십니다 이신 이신데"
)
_COPULA = frozenset().union(
    _EITHER_ENDING,
    _joined(_words("이"), _FULL_ENDING),
    _joined(_words("이었 였 이셨 이겠"), _PAST_ENDING),
    _FUSED,
    _words("예요 여서 여야 여도"),
)
_COPULA_AFTER_JOSA = _joined(  # 오늘부터입니다, 셋뿐이었다
    _RANGE | _LIMIT | _words("에서 에게서 로서 으로서 만큼 대로 처럼"), _COPULA - _EITHER_ENDING
)

_PLURAL = _words("들")

JOSA_EOMI: frozenset[str] = frozenset().union(_JOSA, _COPULA, _COPULA_AFTER_JOSA)
JOSA_EOMI |= _PLURAL | _joined(_PLURAL, JOSA_EOMI)
