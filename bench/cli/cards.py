"""Everything about one part: the text of `bench list KIND NAME`."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from textwrap import fill
from typing import Any

from bench.core.errors import UserError, unknown_name

#: Width of the lines that list scores.
WIDTH = 110


def card(kind: str, name: str) -> str:
    """What a part does, its options with defaults and ranges, its cost, and where it comes from.

    Args:
        kind: a key of `bench.cli.catalog.KINDS`.
        name: of the part; for plug-ins also `module:Thing`.

    Raises:
        UserError: for an unknown name, or a plug-in that does not load.
    """
    return CARDS[kind](name)


def _defense(name: str) -> str:
    from defenses import DEFENSES, get

    defense = get(name)
    defaults, space, schemas = defense.make({}).hyperparameters(), defense.space(), defense.schemas()
    options = [
        (
            f"{field} = {default}",
            _allowed(schemas[field]),
            f"searched: {_range(space[field])}" if field in space else "",
        )
        for field, default in defaults.items()
    ]
    units = defense.make({}).forward_units()
    example = next((f" --set {field}={value}" for field, value in defaults.items()), "")
    facts = {
        "family": defense.family,
        "cost": f"{units:g} forward passes a step with the defaults; standard training takes 3",
        "use": f"bench run --defense {_quoted(name)}{_quoted(example)}",
        "from": _from(DEFENSES.origin(name), defense),
    }
    return _sheet(name, defense, options, facts)


def _model(name: str) -> str:
    from bench.models import MODELS
    from bench.models.variants import options_of, schema_of

    builder = MODELS.get(name)
    options = options_of(builder)
    allowed = {key: schema_of(each) for key, each in options.items()}
    words = ((key, schema["enum"][-1]) for key, schema in allowed.items() if "enum" in schema)
    example = next((f"({key}={word})" for key, word in words if "(" not in name), "")
    facts = {
        "use": f"bench run --defense standard --model {_quoted(name + example)}",
        "from": _from(MODELS.origin(name), builder),
    }
    rows = [(f"{key} = {each.default}", _allowed(allowed[key])) for key, each in options.items()]
    return _sheet(name, builder, rows, facts)


def _dataset(name: str) -> str:
    from bench.cli.catalog import defaults_line
    from bench.core.names import FOLDER_PREFIX
    from bench.data import DATASETS

    loader: Any
    if name.startswith(FOLDER_PREFIX):
        from bench.data.imagefolder import imagefolder as loader
    elif name.endswith(".npz") or name == "MODULE:FUNCTION":
        from bench.data.given import as_raw as loader
    else:
        loader = DATASETS.get(name)
    facts = {
        "defaults": defaults_line(name).strip("[]"),
        "use": f"bench run --defense standard --dataset {name}",
        "from": _from(DATASETS.origin(name), loader),
    }
    return _sheet(name, loader, (), facts)


def _metric(name: str) -> str:
    from bench.evaluation.battery import IMAGES
    from metrics import METRICS, get

    metric = get(name)
    better = {True: "higher is better", False: "lower is better", None: "neither way is better"}
    others = [_short(score, name) for score in metric.names() if score != name]
    batteries = [battery for battery in IMAGES if battery in metric.batteries]
    facts = {
        "unit": f"{metric.unit}, {better[metric.higher_is_better]}",
        "also": f"{', '.join(others)} (/SCORE stands for NAME/SCORE)" if others else "",
        "needs": ", ".join(metric.needs),
        "batteries": ", ".join(batteries) or "none; ask for it with --metrics",
        "use": f"bench run --defense standard --metrics {_quoted(name)}",
        "from": _from(METRICS.origin(name), type(metric)),
    }
    options = [(f"{key} = {value}", "", "") for key, value in _arguments(type(metric)).items()]
    return _sheet(name, type(metric), options, facts)


def _attack(name: str) -> str:
    from bench.attacks.pgd import ATTACKS, Attack
    from bench.attacks.settings import SUMMARIES

    attack = _one("attack", name, ATTACKS)
    settings = [(f"{key} = {value}", "", "") for key, value in attack.settings().items()]
    facts = {"score": f"robust_accuracy/{name}", "from": _from("built in", Attack)}
    return _sheet(name, SUMMARIES[name], settings, facts)


def _battery(name: str) -> str:
    from bench.evaluation.battery import BATTERIES

    battery = _one("battery", name, BATTERIES)()
    registered = _registered()
    metrics = ", ".join(registered.get(metric.name, metric.name) for metric in battery.metrics)
    facts = {
        "version": battery.version,
        "images": f"{battery.images or 'all'} test images under attack; clean accuracy on all",
        "metrics": metrics,
        "cost": "bench run and bench evaluate estimate it before they start; docs/batteries.md has measured times",
        "use": f"bench run --defense standard --battery {name}",
    }
    return _sheet(name, battery.summary, (), facts)


def _recipe(name: str) -> str:
    from bench.training.recipe import RECIPES, SUMMARIES, Recipe

    recipe = _one("recipe", name, RECIPES)
    properties = Recipe.model_json_schema()["properties"]
    options = [
        (f"{field} = {value}", _bounded(properties[field], Recipe.model_fields[field].metadata), "")
        for field, value in recipe.model_dump().items()
        if field != "name"
    ]
    return _sheet(name, SUMMARIES[name], options, {"use": f"bench run --defense at --recipe {name},lr=0.01"})


def _alarm(name: str) -> str:
    from bench.core.registry import ImportedOnUse
    from bench.evaluation.alarm_list import ALARMS

    reader = ImportedOnUse(_one("alarm", name, ALARMS))()
    facts = {
        "answer": "what each alarm means and what to do: docs/alarms.md",
        "from": _from("built in", reader),
    }
    return _sheet(name, reader, (), facts)


def _one(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise unknown_name(kind, name, known)
    return known[name]


def _registered() -> dict[str, str]:
    """Map the main score of each metric to the metric's registered name, which can differ."""
    from metrics import METRICS, get

    names = {}
    for name in METRICS.names():
        with suppress(UserError):
            names[get(name).name] = name
    return names


def _sheet(name: str, part: object, options: Iterable[tuple[str, ...]], facts: Mapping[str, str]) -> str:
    """The lines of a card: name, what it does (a docstring, or the text itself), options, facts."""
    about = part if isinstance(part, str) else inspect.getdoc(part) or "It has no docstring."
    lines = [name, "", *about.splitlines(), ""]
    rows = list(options)
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        cells = (
            "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        )
        lines += ["options", *(f"    {line.rstrip()}" for line in cells), ""]
    width = max(map(len, facts)) + 2
    return "\n".join(
        lines
        + [
            fill(
                f"{fact:<{width}}{text}",
                WIDTH,
                subsequent_indent=" " * width,
                break_on_hyphens=False,
                break_long_words=False,
            )
            for fact, text in facts.items()
            if text
        ]
    )


def _short(score: str, metric: str) -> str:
    return score.removeprefix(metric) if score.startswith(f"{metric}/") else score


def _quoted(name: str) -> str:
    """A name as a shell takes it."""
    return f'"{name}"' if "(" in name else name


def _from(origin: str, part: Any) -> str:
    module = getattr(part, "__module__", "")
    return f"{module}{'' if origin == 'built in' else f' of {origin}'}"


def _arguments(part: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a metric's class with their defaults."""
    parameters = inspect.signature(part).parameters.items()
    return {name: each.default for name, each in parameters if each.default is not each.empty}


def _range(spread: Any) -> str:
    from defenses.space import Choice, LogUniform

    if isinstance(spread, Choice):
        return " | ".join(map(str, spread.values))
    return f"{spread.low:g} … {spread.high:g}{' (log)' if isinstance(spread, LogUniform) else ''}"


def _allowed(schema: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = {"integer": "whole number", "boolean": "true or false", "string": "text", "null": "none"}
    words = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "below",
    }
    bounds = [f"{word} {schema[key]:g}" for key, word in words.items() if abs(schema.get(key, 1e9)) < 1e9]
    return " ".join([kind.get(schema.get("type", ""), schema.get("type", "")), *bounds])


def _bounded(schema: Mapping[str, Any], metadata: Iterable[object]) -> str:
    """The same with the limits of a field of pydantic, which its schema leaves out behind a reader of its own."""
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    if schema.get("type") != "number":
        return _allowed(schema)
    return _allowed(schema) + "".join(
        f" {word} {getattr(limit, key):g}"
        for limit in metadata
        for key, word in words.items()
        if abs(getattr(limit, key, 1e9)) < 1e9
    )


CARDS: Mapping[str, Callable[[str], str]] = {
    "defenses": _defense,
    "models": _model,
    "datasets": _dataset,
    "metrics": _metric,
    "attacks": _attack,
    "batteries": _battery,
    "recipes": _recipe,
    "alarms": _alarm,
}
