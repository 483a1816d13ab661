"""The span rules written the slow and obvious way, as an oracle for the compiled ones."""

from collections import defaultdict


def is_piece(token):
    return token.startswith("##")


def text_of(pieces):
    return "".join(piece.removeprefix("##") for piece in pieces)


def words_of(pieces):
    words = []
    for piece in pieces:
        if is_piece(piece) and words:
            words[-1] += piece[2:]
        else:
            words.append(piece.removeprefix("##"))
    return [word.lower() for word in words]


def rest_of_word(tokens, position):
    end = position
    while end < len(tokens) and is_piece(tokens[end]):
        end += 1
    return tokens[position:end]


def may_end(tokens, end, boundary, particles):
    rest = rest_of_word(tokens, end)
    return not rest or (boundary == "particle" and text_of(rest).lower() in particles)


def naive_clusters(tokens, max_span_length, stopwords, boundary, particles, excluded=frozenset()):
    stopwords = {word.lower() for word in stopwords}
    by_ngram = defaultdict(list)
    for length in range(1, max_span_length + 1):
        for start in range(len(tokens) - length + 1):
            by_ngram[tuple(tokens[start : start + length])].append(start)

    def usable(ngram):
        if is_piece(ngram[0]) or not all(is_piece(piece) or piece.isalnum() for piece in ngram):
            return False
        judged = [piece.lower() for piece in ngram] if boundary == "first" else words_of(ngram)
        return not all(word in stopwords for word in judged) and " ".join(ngram) not in excluded

    spans = {}
    for ngram, starts in by_ngram.items():
        if boundary == "first":
            valid = starts if may_end(tokens, starts[0] + len(ngram), boundary, particles) else []
        else:
            valid = [start for start in starts if may_end(tokens, start + len(ngram), boundary, particles)]
        if len(valid) >= 2 and usable(ngram):
            spans[ngram] = valid

    def has_more_frequent_stem(ngram):
        for cut in range(1, len(ngram)):
            suffix = ngram[cut:]
            more_frequent = len(spans.get(ngram[:cut], ())) > len(spans[ngram])
            if more_frequent and all(map(is_piece, suffix)) and text_of(suffix).lower() in particles:
                return True
        return False

    candidates = [ngram for ngram in spans if boundary != "particle" or not has_more_frequent_stem(ngram)]
    candidates.sort(key=lambda ngram: (-len(ngram), tokens.index(ngram[0]), spans[ngram][0]))
    taken = set()
    clusters = []
    for ngram in candidates:
        cluster = []
        own = set()
        for start in spans[ngram]:
            positions = set(range(start, start + len(ngram)))
            if positions & taken or (boundary != "first" and positions & own):
                continue
            cluster.append((start, start + len(ngram) - 1))
            own |= positions
        if len(cluster) >= 2:
            clusters.append(cluster)
            taken |= own
    return clusters
