"""Page that reports on a run, without a script: curves, samples, settings and environment."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from charlm.config.settings import KEYS, Config
from charlm.pages.chart import Chart, Curve, Level, Mark, chart
from charlm.pages.courses import Courses
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
_REFRESH = 10
"""Seconds after which the page of a run in training is loaded again."""
_LONGEST_VALUE = 2000
"""Number of characters of a setting, or of a value of the environment, that are shown."""


@dataclass(frozen=True)
class _Sample:
    caption: str
    text: str


def report_page(
    history: History,
    environment: Mapping[str, str],
    baselines: Mapping[str, float],
    advice: Sequence[str] = (),
    courses: Courses | None = None,
    training: bool = False,
) -> str:
    """Return the report of a run; the same input gives the same bytes.

    ``environment`` contains versions and hardware, ``baselines`` the bits per character of other models on the same
    text, and ``advice`` sentences on what to try next. Where the page of a growing history is written again and again,
    the same ``courses`` save reading all evaluations each time; while the run is ``training``, a browser loads the
    page again every few seconds.
    """
    courses = courses or Courses()
    courses.follow(history.evaluations)
    samples, settings, best = list(_samples(courses)), _settings(history.config), courses.best
    return render(
        "report.html",
        name=readable(history.name),
        refresh=_REFRESH if training else None,
        summary=_summary(history, best),
        loss=_loss(courses, baselines),
        charts=_small_charts(courses),
        newest=samples[:_OPEN],
        earlier=samples[_OPEN:],
        advice=[readable(sentence) for sentence in advice],
        settings=settings,
        chosen={key: settings[key] for key in ("data.path", *(change.key for change in history.chosen))},
        environment={readable(name): _cut(value) for name, value in environment.items()},
        rows=[_row(history.evaluations[place], best) for place in _rows(courses)],
        evaluations=len(history.evaluations),
    )


def spread(count: int, most: int, also: Collection[int] = ()) -> list[int]:
    """Return at most ``most`` evenly spaced indices below ``count``, first and last included, and those of ``also``."""
    if count <= most:
        return list(range(count))
    return sorted({round(part * (count - 1) / (most - 1)) for part in range(most)} | set(also))


def _summary(history: History, best: Evaluation | None) -> str:
    last = history.last
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


def _loss(courses: Courses, baselines: Mapping[str, float]) -> Chart | None:
    """Return the chart of losses; None when there are none."""
    best = courses.best
    if best is None or best.validation_bits is None:
        return None
    bits, last = best.validation_bits, courses.evaluations[-1]
    now = "" if last is best else _at_end(last.validation_bits)
    training = f"mean since the previous evaluation{_at_end(last.train_bits)}"
    curves = [
        Curve("validation", f"{bits:.3f} at best{now}", courses.course("validation_bits"), "line-0", "validation"),
        Curve("training", training, courses.course("train_bits"), "line-1 dashed", "training"),
    ]
    levels = [Level(name, value, _against(value, bits)) for name, value in baselines.items()]
    mark = Mark((best.characters, bits), f"best {bits:.3f}, step {best.step:,}")
    return chart("bits per character", curves, levels, mark)


def _at_end(bits: float | None) -> str:
    return "" if bits is None else f", {bits:.3f} at the end"


def _against(value: float, bits: float) -> str:
    return f"{value:.3f}, which is {abs(value - bits):.3f} {'above' if value >= bits else 'below'} the best"


def _small_charts(courses: Courses) -> list[Chart]:
    """Return a chart for each quantity with more than one value."""
    quantities = {
        "learning_rate": "learning rate",
        "gradient_norm": "gradient norm before clipping",
        "characters_per_second": "characters per second",
    }
    drawn = {words: courses.course(name) for name, words in quantities.items()}
    return [
        chart(words, [Curve(words, f"{points[-1][1]:.3g} at the end", points, "line-0 thin")], floor=0.0)
        for words, points in drawn.items()
        if len(points) > 1
    ]


def _samples(courses: Courses) -> Iterator[_Sample]:
    """Yield the samples, newest first."""
    written, best = courses.written, courses.place_of_best
    for index in reversed(spread(len(written), _SAMPLES, [written.index(best)] if best in written else ())):
        evaluation = courses.evaluations[written[index]]
        bits = "" if evaluation.validation_bits is None else f" · {evaluation.validation_bits:.3f} bits"
        mark = " · the best" if written[index] == best else ""
        text = evaluation.sample or ""
        cut = "…" if len(text) > _LONGEST_SAMPLE else ""
        yield _Sample(f"step {evaluation.step:,}{bits}{mark}", readable(text[:_LONGEST_SAMPLE]) + cut)


def _rows(courses: Courses) -> list[int]:
    """Return the places of the evaluations in the table."""
    best = courses.place_of_best
    return spread(len(courses.evaluations), _ROWS, () if best is None else [best])


def _settings(config: Config) -> dict[str, str]:
    """Return all settings as written in a config file."""
    tree = config.model_dump()
    return {key: _cut(setting(tree[part][name])) for key, part, name in ((key, *key.split(".")) for key in KEYS)}


def _cut(text: str) -> str:
    return readable(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…")


def _row(evaluation: Evaluation, best: Evaluation | None) -> list[str]:
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
    step = f"{evaluation.step:,}{' (best)' if evaluation is best else ''}"
    return [step, compact(evaluation.characters), *numbers]
