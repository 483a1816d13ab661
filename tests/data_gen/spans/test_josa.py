import re

import pytest

from data_gen.spans.josa import JOSA_EOMI


@pytest.mark.parametrize(
    "continuations",
    [
        "이 가 은 는 을 를 의 에 도 만 로 으로 와 과 나 이나",
        "에서 에서는 에서도 에서의 에서만 에서만은 에서부터 에서부터의 에게 에게서 에게는 한테도 께서는",
        "으로부터 으로부터의 로서의 으로써 까지 까지도 까지의 부터는 만으로 만이 마저도 조차 밖에 뿐만 처럼 커녕",
        "들 들이 들은 들에게 들에게는 들이다 들로부터",
        "이다 이라고 이라는 이란 이며 이고 이지만 입니다 입니까 이었다 였다 이었던 였으나 인데 인지 일까",
        "라고 라는 란 예요 이에요",
        "부터입니다 뿐이다 까지였다 에서였다",
    ],
)
def test_particles_and_copula(continuations: str):
    assert not set(continuations.split()) - JOSA_EOMI


@pytest.mark.parametrize(
    "continuations",
    [
        "하다 하는 하고 하여 합니다 했다 되는 됩니다 된 시키는 받은",  # make verbs of nouns
        "적 적인 화 성 자 님 씨 서 인 일 임 고 여 아 야 형 용 식 권 값",  # make other nouns
        "나이 만원 도시 과장 이름 에이지 로봇 으로서울",  # begin like particles
    ],
)
def test_what_makes_another_word(continuations: str):
    assert not set(continuations.split()) & JOSA_EOMI


def test_all_are_hangul_syllables_of_a_bounded_length():
    assert all(re.fullmatch("[가-힣]{1,12}", each) for each in JOSA_EOMI)
    assert 1000 < len(JOSA_EOMI) < 100_000
