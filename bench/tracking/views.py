"""Saved views of an experiment: its pages open on the final runs of one board, the most robust first."""

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Without a kind, MLflow lays the pages out for language models and shows no score.
KIND = {"mlflow.experimentKind": "custom_model_development"}
#: The same choice in the address of a page that knows no experiment.
LAYOUT = "workflowType=machine_learning"
NOTE = "mlflow.note.content"
#: MLflow reads a view from the tag of this name and its key, where an address has `viewStateShareKey=KEY`.
VIEW = "mlflow.sharedViewState."
#: What is known of one board: title, images, its best runs.
BOARD = "bench.board."
#: The view of all final runs.
ALL = "final-runs"
HEADING = "**Results**"
#: Runs in a prepared comparison, and boards in the note.
MOST_RUNS, MOST_BOARDS = 5, 20
#: Words of a link and MLflow's name of the layout that it opens.
MODES = {"table": "TABLE", "charts": "CHART"}

#: Kind, name and width of each column; the first two are pinned by MLflow.
_COLUMNS = (
    ("attributes", "Run Name", 165),
    ("", "runDateAndNestInfo", 40),
    ("metrics", "worst_case", 95),
    ("tags", "interval_95", 98),
    ("tags", "ranked", 84),
    ("params", "defense", 80),
    ("params", "network", 75),
    ("metrics", "autoattack", 92),
    ("metrics", "pgd20", 62),
    ("metrics", "clean", 72),
    ("metrics", "time_ratio", 85),
    ("tags", "alarms", 240),
    ("metrics", "prs_ratio", 82),
    ("metrics", "inclusion", 80),
    ("metrics", "detection_auc", 110),
)
_SECTION = "robustness"
_BARS = ("worst_case", "clean")
#: What the worst case is drawn against.
_SCATTERS = ("clean", "time_ratio", "prs_ratio")


def refresh(client: "MlflowClient", experiment_id: str, boards: dict[str, tuple[str, int]]) -> None:
    """Write the views of some boards, and a note that links to those of all.

    Args:
        boards: the tag `board` of runs → title of the board, and the images that were attacked on it.
    """
    tags = dict(client.get_experiment(experiment_id).tags)
    new = {key: value for key, value in KIND.items() if key not in tags}
    new[VIEW + ALL] = _view("tags.role = 'final'")
    for board, (title, images) in boards.items():
        best = client.search_runs(
            [experiment_id],
            f"tags.board = '{board}' and attributes.status = 'FINISHED'",
            max_results=MOST_RUNS,
            order_by=["metrics.worst_case DESC"],
        )
        known = {"title": title, "images": images, "runs": [run.info.run_id for run in best]}
        new[BOARD + board] = json.dumps(known)
        new[VIEW + board] = _view(f"tags.board = '{board}'")
    new[NOTE] = _note(tags.get(NOTE, ""), experiment_id, {**tags, **new})
    for key, value in new.items():
        if tags.get(key) != value:
            client.set_experiment_tag(experiment_id, key, value)


def results_page(client: "MlflowClient", experiment_id: str) -> str:
    """The part of an address that opens the board with the largest evaluation, or all final runs."""
    boards = _boards(client.get_experiment(experiment_id).tags)
    return _page(experiment_id, boards[0][0] if boards else ALL, "TABLE")


def _boards(tags: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    found = [
        (key.removeprefix(BOARD), json.loads(value)) for key, value in tags.items() if key.startswith(BOARD)
    ]
    return sorted(found, key=lambda item: (-item[1]["images"], item[1]["title"]))


def _page(experiment_id: str, key: str, mode: str) -> str:
    address = f"#/experiments/{experiment_id}/runs?{LAYOUT}&compareRunsMode={mode}"
    return f"{address}&viewStateShareKey={quote(key)}"


def _note(before: str, experiment_id: str, tags: dict[str, str]) -> str:
    """The user's own words, then ours, which replace those written before."""
    own = before.partition(HEADING)[0].rstrip()
    lines: list[str] = []
    boards = _boards(tags)
    for board, known in boards[:MOST_BOARDS]:
        links = [f"[{word}]({_page(experiment_id, board, mode)})" for word, mode in MODES.items()]
        if len(known["runs"]) > 1:
            runs, where = (quote(json.dumps(ids)) for ids in (known["runs"], [experiment_id]))
            links.append(
                f"[best {len(known['runs'])} compared](#/compare-runs?runs={runs}&experiments={where}&{LAYOUT})"
            )
        lines.append(f"{HEADING if not lines else '-'} {known['title']}: {', '.join(links)}")
    if len(boards) > MOST_BOARDS:
        lines.append(f"- and {len(boards) - MOST_BOARDS} more; filter by the tag `board`")
    everything = f"[all final runs]({_page(experiment_id, ALL, 'TABLE')})"
    lines.append(f"- {everything}" if lines else f"{HEADING} {everything}")
    lines += [
        "",
        "Accuracies are fractions of the attacked test images. `ranked` says whether a board ranks the run, "
        "`interval_95` is the 95 % interval of the worst case. All scores are in each run's `tables/scores.csv`. "
        "`bench track` brings runs of earlier versions into these views.",
    ]
    return "\n".join([own, "", *lines] if own else lines)


def _view(query: str) -> str:
    widths = {f"{kind}.`{name}`" if kind else name: width for kind, name, width in _COLUMNS}
    columns = list(widths)
    state = {
        "searchFilter": query,
        "orderByKey": "metrics.`worst_case`",
        "orderByAsc": False,
        "selectedColumns": columns[2:],
        "columnOrder": columns,
        "columnWidths": widths,
        "compareRunCharts": _charts(),
        "compareRunSections": [
            {"uuid": _SECTION, "name": "Robustness", "display": True, "isReordered": False, "deleted": False}
        ],
        "isAccordionReordered": True,
        "runsHiddenMode": "FIRST_20_RUNS",
    }
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()


def _charts() -> list[dict[str, Any]]:
    common = {"metricSectionId": _SECTION, "deleted": False, "isGenerated": False}
    bars = [
        {
            **common,
            "uuid": name,
            "type": "BAR",
            "metricKey": name,
            "displayName": name,
            "runsCountToCompare": 20,
        }
        for name in _BARS
    ]
    scatters = [
        {
            **common,
            "uuid": f"{x}-worst_case",
            "type": "SCATTER",
            "xaxis": {"key": x, "type": "METRIC"},
            "yaxis": {"key": "worst_case", "type": "METRIC"},
            "runsCountToCompare": 100,
        }
        for x in _SCATTERS
    ]
    # Every metric of the runs that are shown, side by side.
    compared = {
        **common,
        "uuid": "compared",
        "type": "DIFFERENCE",
        "chartName": "Runs side by side",
        "compareGroups": ["Model metrics"],
        "showChangeFromBaseline": False,
        "showDifferencesOnly": True,
        "runsCountToCompare": 20,
    }
    return [bars[0], *scatters, *bars[1:], compared]
