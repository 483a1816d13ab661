"""Records of passages given as tokens, for tests of what masking does to them."""

from functools import lru_cache

import numpy as np

from data_gen.passages.masking import (
    MaskingConfig,
    fill_row,
    mask_for_language_modelling,
    mask_recurring_spans,
    masking_rules,
    unmasked_passage,
)
from data_gen.passages.random_numbers import seed_generator
from data_gen.passages.tokenization import SPECIAL_TOKENS, Vocabulary
from data_gen.spans.clusters import find_clusters, span_tables

# [PAD] is not 0 here, as in KoSplinter's vocabulary.
WORDS = ["서울", "부산", "대구", "이", "A", ".", "7"]
PIECES = ["##시", "##에서", "##는", "##이"]
VOCABULARY = Vocabulary("vocab.txt", ("[QUESTION]", *[t for t in SPECIAL_TOKENS if t != "[QUESTION]"], *WORDS, *PIECES))
ID = {token: number for number, token in enumerate(VOCABULARY.tokens)}


@lru_cache
def compiled(config: MaskingConfig, vocabulary: Vocabulary):
    ids_of = {token: number for number, token in enumerate(vocabulary.tokens)}
    return ids_of, masking_rules(config, vocabulary), span_tables(vocabulary.tokens)


def masked_record(tokens, config: MaskingConfig, seed: int, vocabulary: Vocabulary = VOCABULARY):
    """(features by name, ids before masking) of one passage, special tokens included."""
    ids_of, rules, tables = compiled(config, vocabulary)
    ids = np.array([ids_of[token] for token in tokens], np.int32)
    generator = np.empty(1, np.uint64)
    seed_generator(generator, np.array([seed, 0, 0, 0, 0], np.int64))
    passage = unmasked_passage(ids)
    questions = 0
    if config.max_questions_per_seq:
        clusters = find_clusters(ids, tables, rules.boundary, rules.max_span_length)
        is_masked = np.zeros(len(clusters.lengths), np.bool_)
        questions = mask_recurring_spans(passage, clusters, rules, generator, is_masked)
    if config.max_predictions_per_seq:
        mask_for_language_modelling(passage, rules, generator, questions)
    features = config.record_spec.features()
    row = np.empty(sum(length for _, length in features.values()), np.int64)
    fill_row(passage, rules, row)
    record, start = {}, 0
    for name, (_, length) in features.items():
        record[name] = row[start : start + length]
        start += length
    return record, ids
