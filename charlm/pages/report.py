"""Page that reports on a run, without a script: curves, samples, settings and environment."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from charlm.config.settings import KEYS, Config
from charlm.pages.chart import Chart, Curve, Level, Mark, chart
from charlm.pages.formatting import compact, duration, readable, setting
from charlm.pages.rendering import render
from charlm.runs.history import History
from charlm.runs.metrics import Evaluation

_SAMPLES, _OPEN = 30, 3
"""Number of samples shown, and how many of them are not folded."""
_LONGEST_SAMPLE = 1000
"""Number of characters of a sample that are shown."""
_ROWS = 200
"""Number of evaluations in the table."""
_LONGEST_VALUE = 2000
"""Number of characters of a setting, or of a value of the environment, that are shown."""


@dataclass(frozen=True)
class _Sample:
    caption: str
    text: str


def report_page(
    history: History, environment: Mapping[str, str], baselines: Mapping[str, float], advice: Sequence[str] = ()
) -> str:
    """Return the report of a run; the same input gives the same bytes.

    ``environment`` contains versions and hardware, ``baselines`` the bits per character of other models on the same
    text, and ``advice`` sentences on what to try next.
    """
    samples, settings = list(_samples(history)), _settings(history.config)
    rows = spread(len(history.evaluations), _ROWS, _place_of_best(history, history.evaluations))
    return render(
        "report.html",
        name=readable(history.name),
        summary=_summary(history),
        loss=_loss(history, baselines),
        charts=_small_charts(history),
        newest=samples[:_OPEN],
        earlier=samples[_OPEN:],
        advice=[readable(sentence) for sentence in advice],
        settings=settings,
        chosen={key: settings[key] for key in ("data.path", *(change.key for change in history.chosen))},
        environment={readable(name): _cut(value) for name, value in environment.items()},
        rows=[_row(history.evaluations[place], history) for place in rows],
        evaluations=len(history.evaluations),
    )


def spread(count: int, most: int, also: Collection[int] = ()) -> list[int]:
    """Return at most ``most`` evenly spaced indices below ``count``, first and last included, and those of ``also``."""
    if count <= most:
        return list(range(count))
    return sorted({round(part * (count - 1) / (most - 1)) for part in range(most)} | set(also))


def _summary(history: History) -> str:
    last, best = history.last, history.best
    if last is None:
        return f"{_model(history)}. There has been no evaluation yet."
    seen = f"{last.characters:,} characters seen" + ("" if last.seconds is None else f" in {duration(last.seconds)}")
    if best is None:
        return f"{_model(history)}. {seen}; no validation loss is known."
    return f"{_model(history)}. Best: {best.validation_bits:.3f} bits per character, at step {best.step:,}. {seen}."


def _model(history: History) -> str:
    model = history.config.model
    architecture = model.architecture
    if not architecture.is_recurrent:
        return f"{architecture.article.capitalize()} {architecture.name} of order {model.order}"
    layers = "1 layer" if model.num_layers == 1 else f"{model.num_layers} layers"
    return f"{architecture.name}, {layers} of {model.hidden_size:,} units"


def _loss(history: History, baselines: Mapping[str, float]) -> Chart | None:
    """Return the chart of losses; None when there are none."""
    best, last = history.best, history.last
    if best is None or best.validation_bits is None or last is None:
        return None
    bits = best.validation_bits
    now = "" if last is best else _at_end(last.validation_bits)
    training = f"mean since the previous evaluation{_at_end(last.train_bits)}"
    curves = [
        Curve("validation", f"{bits:.3f} at best{now}", history.course("validation_bits"), "line-0", "validation"),
        Curve("training", training, history.course("train_bits"), "line-1 dashed", "training"),
    ]
    levels = [Level(name, value, _against(value, bits)) for name, value in baselines.items()]
    mark = Mark((best.characters, bits), f"best {bits:.3f}, step {best.step:,}")
    return chart("bits per character", curves, levels, mark)


def _at_end(bits: float | None) -> str:
    return "" if bits is None else f", {bits:.3f} at the end"


def _against(value: float, bits: float) -> str:
    return f"{value:.3f}, which is {abs(value - bits):.3f} {'above' if value >= bits else 'below'} the best"


def _small_charts(history: History) -> list[Chart]:
    """Return a chart for each quantity with more than one value."""
    quantities = {
        "learning_rate": "learning rate",
        "gradient_norm": "gradient norm before clipping",
        "characters_per_second": "characters per second",
    }
    courses = {words: history.course(name) for name, words in quantities.items()}
    return [
        chart(words, [Curve(words, f"{points[-1][1]:.3g} at the end", points, "line-0 thin")], floor=0.0)
        for words, points in courses.items()
        if len(points) > 1
    ]


def _samples(history: History) -> Iterator[_Sample]:
    """Yield the samples, newest first."""
    written = [evaluation for evaluation in history.evaluations if evaluation.sample]
    for place in reversed(spread(len(written), _SAMPLES, _place_of_best(history, written))):
        evaluation = written[place]
        bits = "" if evaluation.validation_bits is None else f" · {evaluation.validation_bits:.3f} bits"
        best = " · the best" if evaluation is history.best else ""
        text = evaluation.sample or ""
        cut = "…" if len(text) > _LONGEST_SAMPLE else ""
        yield _Sample(f"step {evaluation.step:,}{bits}{best}", readable(text[:_LONGEST_SAMPLE]) + cut)


def _place_of_best(history: History, among: Sequence[Evaluation]) -> list[int]:
    return [place for place, evaluation in enumerate(among) if evaluation is history.best]


def _settings(config: Config) -> dict[str, str]:
    """Return all settings as written in a config file."""
    tree = config.model_dump()
    return {key: _cut(setting(tree[part][name])) for key, part, name in ((key, *key.split(".")) for key in KEYS)}


def _cut(text: str) -> str:
    return readable(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…")


def _row(evaluation: Evaluation, history: History) -> list[str]:
    """Return an evaluation as a row of the table."""
    shown = [
        (evaluation.epoch, "{:.2f}"),
        (evaluation.train_bits, "{:.3f}"),
        (evaluation.validation_bits, "{:.3f}"),
        (evaluation.learning_rate, "{:.3g}"),
        (evaluation.gradient_norm, "{:.3g}"),
        (evaluation.characters_per_second, "{:,.0f}"),
        (evaluation.seconds, "{:,.1f}"),
    ]
    numbers = ["—" if value is None else form.format(value) for value, form in shown]
    step = f"{evaluation.step:,}{' (best)' if evaluation is history.best else ''}"
    return [step, compact(evaluation.characters), *numbers]
