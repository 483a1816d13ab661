"""The inspection page: one HTML file that needs nothing else."""

import html
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from data_gen.inspection.passages import (
    ANSWER,
    PADDING_BINS,
    PREDICTION,
    QUESTION,
    SPECIAL,
    Passage,
    Run,
    Statistics,
    as_passage,
    frequent_ngrams,
    sampled_records,
)
from data_gen.passages.tokenization import Vocabulary
from kosplinter_common.cli import InputError
from kosplinter_common.files import atomic_file, file_sha256
from kosplinter_common.records.dataset_info import DatasetInfo

_TEMPLATE = Path(__file__).parent / "page.html"
_GOLDEN_ANGLE = 137.5  # degrees: neighbouring numbers get hues far apart
_WIDTH, _PLOT_HEIGHT, _ROW_HEIGHT, _MARGIN = 360, 150, 22, 18  # of charts, in units of their view boxes
_MAX_TICKS, _BARS_PER_CHART, _MAX_LABEL = 12, 15, 16


@dataclass(frozen=True)
class PageSizes:
    """How much the page shows."""

    records: int = 20  # as text
    statistics_records: int = 5000  # counted for the plots
    ngrams: int = 45


def write_page(
    folder: Path, page: Path, vocab_file: str | None = None, sizes: PageSizes | None = None, seed: int = 0
) -> tuple[int, int]:
    """Writes the page of a folder of records; the numbers of records shown and of all records.

    Raises:
      InputError: the folder is unfinished or damaged, or the vocabulary is not that of the records.
    """
    sizes = sizes or PageSizes()
    info = DatasetInfo.load(folder)
    vocab_file = vocab_file or info.flags["vocab_file"]
    vocabulary = Vocabulary.load(vocab_file)
    if (found := file_sha256(vocab_file)) != info.vocab.sha256:
        raise InputError(f"{vocab_file}: sha256 is {found}, but the records were made with {info.vocab.sha256}")
    statistics = Statistics()
    records = []
    for name, record in sampled_records(folder, info, max(sizes.statistics_records, sizes.records)):
        statistics.add(record)
        records.append((name, record))
    shown = sorted(random.Random(seed).sample(range(len(records)), min(sizes.records, len(records))))
    passages = [as_passage(*records[number], vocabulary.tokens) for number in shown]
    text = render_page(folder.resolve().name, info, passages, statistics, frequent_ngrams(folder, sizes.ngrams))
    with atomic_file(page) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return len(passages), info.counts["records"]


def render_page(
    folder: str,
    info: DatasetInfo,
    passages: Sequence[Passage],
    statistics: Statistics,
    ngrams: Sequence[tuple[str, int]],
) -> str:
    """The whole page. Plots are of `statistics`, which may be of fewer records than there are."""
    facts = (f"<div><dt>{name}</dt><dd>{html.escape(value)}</dd></div>" for name, value in _facts(info).items())
    flags = (
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>" for name, value in info.flags.items()
    )
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(folder),
        facts="".join(facts),
        flags="".join(flags),
        statistics_of=f"{statistics.records:,}",
        charts=_charts(info, statistics, ngrams),
        passages="".join(map(_passage, passages)),
    )


def _facts(info: DatasetInfo) -> dict[str, str]:
    counts = info.counts
    return {
        **{name: f"{counts[name]:,}" for name in ("documents", "records", "tokens", "questions")},
        "questions per record": f"{counts['questions'] / max(1, counts['records']):.1f}",
        "padding": f"{counts['padding_rate']:.1%}",
        "shards": str(len(info.shards)),
        "skipped": ", ".join(f"{reason}: {count:,}" for reason, count in info.skipped.items()) or "nothing",
    }


def _charts(info: DatasetInfo, statistics: Statistics, ngrams: Sequence[tuple[str, int]]) -> str:
    longest = max(statistics.span_lengths, default=1)
    questions = {str(count): statistics.questions[count] for count in range(info.max_questions_per_seq + 1)}
    lengths = {str(length): statistics.span_lengths[length] for length in range(1, longest + 1)}
    padding = {f"{100 * part // PADDING_BINS}%": statistics.padding[part] for part in range(PADDING_BINS)}
    charts = [
        column_chart("Records by number of questions", questions),
        column_chart("Masked spans by number of wordpieces", lengths),
        column_chart("Records by share of padding", padding),
    ]
    highest = ngrams[0][1] if ngrams else 1
    for first in range(0, len(ngrams), _BARS_PER_CHART):
        part = ngrams[first : first + _BARS_PER_CHART]
        charts.append(bar_chart(f"Most frequent spans, {first + 1} to {first + len(part)}", part, highest))
    return "".join(charts)


def _passage(passage: Passage) -> str:
    runs = "".join((" " if run.space_before else "") + _run(run) for run in passage.runs)
    facts = f"{passage.num_questions} questions · {passage.num_tokens} tokens · {passage.num_padding} padding"
    header = f"<header><h3>{html.escape(passage.name)}</h3><span>{facts}</span></header>"
    return f'<article>{header}<p lang="ko">{runs}</p></article>\n'


def _run(run: Run) -> str:
    text, hidden = html.escape(run.text), html.escape(run.hidden, quote=True)
    on_demand = f'tabindex="0" data-hidden="{hidden}"'
    colour = f'style="--hue:{(run.cluster or 0) * _GOLDEN_ANGLE % 360:.0f}" data-cluster="{run.cluster}"'
    if run.kind == SPECIAL:
        return f'<span class="special">{text}</span>'
    if run.kind == PREDICTION:
        return f'<span class="prediction" {on_demand} aria-label="{text}: {hidden}">{text}</span>'
    if run.kind == ANSWER:
        return f"<mark {colour}>{text}<sup>{run.cluster}</sup></mark>"
    if run.kind == QUESTION:
        label = f'aria-label="{text} {run.cluster}: {hidden}"'
        return f'<span class="question" {colour} {on_demand} {label}>{text}<sup>{run.cluster}</sup></span>'
    return text


def column_chart(title: str, values: Mapping[str, int]) -> str:
    """An SVG histogram: one column for each key, in their order."""
    highest, step = max(values.values(), default=0) or 1, _WIDTH / max(1, len(values))
    ticks_apart = -(-len(values) // _MAX_TICKS)
    base = _MARGIN + _PLOT_HEIGHT
    drawn = [f'<text x="0" y="{_MARGIN - 6}">most: {highest:,}</text>']
    for number, (label, value) in enumerate(values.items()):
        height, left = value / highest * _PLOT_HEIGHT, number * step
        box = f'x="{left + step * 0.1:.1f}" y="{base - height:.1f}" width="{step * 0.8:.1f}" height="{height:.1f}"'
        drawn.append(f"<rect {box}><title>{label}: {value:,}</title></rect>")
        if number % ticks_apart == 0:
            place = f'x="{left + step / 2:.1f}" y="{base + _MARGIN - 2}" text-anchor="middle"'
            drawn.append(f"<text {place}>{label}</text>")
    drawn.append(f'<line x1="0" x2="{_WIDTH}" y1="{base}" y2="{base}"/>')
    return _figure(title, base + _MARGIN + 4, drawn)


def bar_chart(title: str, values: Sequence[tuple[str, int]], highest: int) -> str:
    """An SVG bar chart with a text for each bar; a bar of `highest` would fill the width."""
    bars_left = _WIDTH * 0.5
    drawn = []
    for number, (label, value) in enumerate(values):
        top, length = number * _ROW_HEIGHT, value / max(1, highest) * (_WIDTH - bars_left - 50)
        shown = label if len(label) <= _MAX_LABEL else label[: _MAX_LABEL - 1] + "…"
        whole = f"<title>{html.escape(label)}</title>"
        drawn += [
            f'<text x="{bars_left - 8}" y="{top + 15}" text-anchor="end">{html.escape(shown)}{whole}</text>',
            f'<rect x="{bars_left}" y="{top + 4}" width="{length:.1f}" height="{_ROW_HEIGHT - 8}"/>',
            f'<text x="{bars_left + length + 5:.1f}" y="{top + 15}">{value:,}</text>',
        ]
    return _figure(title, len(values) * _ROW_HEIGHT, drawn)


def _figure(title: str, height: int, drawn: Sequence[str]) -> str:
    drawing = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{title}">{"".join(drawn)}</svg>'
    return f"<figure><figcaption>{title}</figcaption>{drawing}</figure>\n"
