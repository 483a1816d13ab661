"""What the spoken and anonymised corpora write where something was not said, not understood or must not be told."""

import re
from typing import ClassVar

from data_gen.corpora.base import ReaderOptions


class SpeechMarks:
    """Takes marks out of text, or puts plain words in the place of anonymised names, as the options say.

    NIKL: &name1&, {laughing}, {share:photo}, (()), ((xx)), ((guessed)), -broken off-, a lone hyphen.
    AI Hub: #@이름#, #@시스템#사진#, (7시)/(일곱 시), and the noises b/ l/ o/ n/ u/.
    """

    # Plain words for kinds of anonymised names. The stop words know all of them: a mark is no answer worth asking for.
    WORDS: ClassVar = {
        **dict.fromkeys(("company-name", "affiliation", "address", "소속", "주소"), "모처"),  # "a certain place"
    }
    PERSON = "아무개"  # "so-and-so": persons and whatever else
    _SIGNS = ("시스템", "이모티콘", "URL", "기타")  # stand for no word of the speaker
    _ANONYMISED = re.compile(r"&([a-z]+(?:-[a-z]+)*)[0-9]*&|#@([가-힣A-Za-z]+)[0-9]*#(?:[^#@\s]+#)?")
    _UNHEARD = re.compile(
        r"\(\([xX\s]*\)\)"  # not understood
        r"|\{[^{}\n]{0,60}\}"  # a sound, or what a messenger shows besides text
        r"|(?<!\S)-[^\s-]+(?: [^\s-]+){0,2}-(?!\S)"  # broken off, and said again
        r"|(?<!\S)-+(?!\S)"
        r"|(?<!\S)[blonu]/(?!\S)"  # breath, laughter, other speech, noise
    )
    _GUESSED = re.compile(r"\(\(([^()]*)\)\)")  # the transcriber's guess is kept, its brackets are not
    _TWICE = re.compile(r"\(([^()/]*)\)/\(([^()/]*)\)")  # as written, and as pronounced
    _UNCLEAR = re.compile(r"(?<=[가-힣])[+*/](?=\s|$)")  # behind a word: repeated, unclear, a filler

    def __init__(self, options: ReaderOptions):
        self._anonymised, self._unheard = options.anonymised_speech, options.unheard_speech

    def names(self, text: str) -> str:
        """Text of the written corpora, where only names are marked."""
        if self._anonymised == "keep" or ("&" not in text and "#@" not in text):
            return text
        return self._ANONYMISED.sub(self._word, text)

    def _word(self, mark: re.Match[str]) -> str:
        kind = mark[1] or mark[2]
        if kind in self._SIGNS:
            return " "
        return self.WORDS.get(kind, self.PERSON) if self._anonymised == "word" else ""

    def speech(self, text: str) -> str:
        if self._unheard == "remove":
            text = self._TWICE.sub(r"\1", text)
            text = self._GUESSED.sub(lambda mark: mark[1].strip("x"), self._UNHEARD.sub(" ", text))
            text = self._UNCLEAR.sub("", text)
        return self.names(text)
