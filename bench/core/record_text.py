"""Print a record as text."""

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from bench.core.progress import readable
from bench.core.record import Front, Record, Score
from bench.core.standing import standing
from bench.core.values import printable

#: From this width on, notes stand beside their scores; in a narrower terminal their column would hold single words.
WIDE = 120


def show_record(record: Record, console: Console | None = None) -> None:
    """Print scores with intervals, alarms, settings and cost."""
    console = console or Console(highlight=False, emoji=False)
    threat = f"{record.threat.norm} ε={record.threat.eps}"
    battery = f"{record.battery.name} {record.battery.version}"
    title = f"{record.defense.name} · {record.model} · {record.dataset.name} · {threat}"
    console.print(f"[bold]{escape(title)}[/bold]  battery {escape(battery)}, seed {record.seed}")
    console.print(f"{escape(record.id)}\n")

    scores = Table(box=None, pad_edge=False)
    for heading in ("metric", "value", "95 % interval", "n"):
        scores.add_column(heading, no_wrap=True)
    beside = console.width >= WIDE
    if beside:
        scores.add_column("note", overflow="fold")
    for name, score in record.metrics.items():
        interval = (
            f"{score_text(score, score.low)} – {score_text(score, score.high)}"
            if score.low is not None
            else ""
        )
        note = (escape(score.reason),) if beside else ()
        scores.add_row(escape(name), score_text(score, score.value), interval, str(score.n or ""), *note)
    console.print(scores)
    if not beside:
        _show_notes(record, console)

    console.print("\n[bold]alarms[/bold] (no alarm does not mean trustworthy)")
    for alarm in record.alarms:
        mark = {True: "[red]raised[/red]", False: "quiet ", None: "not run"}[alarm.raised]
        console.print(f"  {mark}  {escape(alarm.name)}: {escape(alarm.message)}")
    if (stands := standing(record)).raised:
        console.print(f"  {escape(str(stands))}")

    if record.defense.hyperparameters:
        console.print("\n[bold]hyper-parameters[/bold]")
    for key, value in record.defense.hyperparameters.items():
        default = record.defense.defaults.get(key, value)
        console.print(
            f"  {escape(key)} = {escape(str(value))}"
            + (f"  (default {escape(str(default))})" if default != value else "")
        )
    if (found := record.defense.search) is not None:
        console.print(
            f"  searched in {found.trials} trials ({found.pruned} pruned, {found.failed} failed), "
            f"{readable(found.seconds)} of training; defaults {_percent(found.default_value)}, "
            f"best {_percent(found.best_value)}: {escape(found.objective)}"
        )
        if found.front is not None:
            _show_front(found.front, found.best_trial, console)

    trained = (
        f"trained in {readable(record.cost.train_seconds)}, " if record.cost.train_seconds is not None else ""
    )
    console.print(
        f"\n{trained}evaluated in {readable(record.cost.evaluate_seconds)} "
        f"({record.cost.forwards:,} forwards, {record.cost.backwards:,} backwards), "
        f"peak memory {record.cost.peak_memory_bytes / 2**30:.2f} GiB"
    )
    again = record.provenance.command or "made from Python, no command repeats it"
    console.print(f"again: {escape(again)}", soft_wrap=True)


def _show_front(front: Front, chosen: int, console: Console) -> None:
    """Print the settings that a search with several objectives found."""
    area = front.hypervolume
    between = f" ({area.low:.3f} – {area.high:.3f})" if area.low is not None and area.high is not None else ""
    value = "—" if area.value is None else f"{area.value:.3f}"
    console.print(f"  front of {len(front.points)} settings, hypervolume {value}{between}:")
    for point in front.points:
        settings = ", ".join(f"{name} = {value}" for name, value in point.hyperparameters.items())
        cost = "" if point.cost is None else f", {point.cost:.3g}x the passes"
        mark = "*" if point.trial == chosen else " "
        clean, robust = _percent(point.clean_accuracy), _percent(point.robust_accuracy)
        console.print(
            f"    {mark} trial {point.trial}: clean {clean}, robust {robust}{cost}; {escape(settings)}"
        )
    console.print(f"    * trained: {escape(front.rule)}")


def _show_notes(record: Record, console: Console) -> None:
    """Every note once, with the scores it belongs to."""
    of: dict[str, list[str]] = {}
    for name, score in record.metrics.items():
        if score.reason:
            of.setdefault(score.reason, []).append(name)
    if of:
        console.print("\n[bold]notes[/bold]")
    for note, names in of.items():
        console.print(f"  {escape(', '.join(names))}: {escape(note)}")


def escape(text: str) -> str:
    """Text of a record as rich shows it: neither markup nor control characters."""
    return escape_markup(printable(text))


def score_text(score: Score, value: float | None) -> str:
    """A value of a score, or an end of its interval, with the unit."""
    if value is None:
        return "—"
    if score.unit == "fraction":
        return f"{value:.1%}"
    return f"{value:.3g}" + {"seconds": " s", "ratio": "x", "nats": " nats"}.get(score.unit, "")


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"
