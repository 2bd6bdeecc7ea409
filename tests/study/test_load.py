"""Study files: mistakes are named before anything is trained, and the shipped ones are sound."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.core.errors import UserError
from bench.study import CorrelationStudy, PredictorsStudy, TableStudy, load_study
from bench.study.outline import outline
from defenses import get

STUDIES = Path(__file__).parents[2] / "studies"
CORRELATION: dict[str, Any] = {
    "study": "correlation",
    "title": "t",
    "models": ["cnn6"],
    "datasets": {"digits": {"least_accuracy": 0.5}},
    "batch_sizes": [32],
    "seeds": [0],
    "epochs": 2,
    "probe_every": 1,
}
TABLE: dict[str, Any] = {
    "study": "table",
    "title": "t",
    "train": {"dataset": "digits"},
    "rows": {"natural": {"defense": "standard"}, "jacobian": {"defense": "jacobian"}},
    "columns": ["clean_accuracy", "bim@0.1"],
}


def load(tmp_path: Path, values: Any) -> Any:
    path = tmp_path / "study.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return load_study(path)


def changed(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(values)
    *parents, last = key.split("/")
    inner = values
    for parent in parents:
        inner = inner[parent]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            changed(CORRELATION, "study", "corelation"),
            "study must be correlation, table or predictors, got 'corelation'",
        ),
        (changed(TABLE, "bars", ["prs_rati"]), "bars: unknown score 'prs_rati'; did you mean prs_ratio"),
        (changed(TABLE, "bars", ["prs_ratio", "prs_ratio"]), "bars: prs_ratio is named twice"),
        (changed(TABLE, "bars", "prs_ratio"), "bars: expected a list"),
        (changed(CORRELATION, "study", None), "study must be correlation, table or predictors, got None"),
        (changed(CORRELATION, "batchsizes", [3]), "unknown key 'batchsizes'; did you mean batch_sizes"),
        (changed(CORRELATION, "epochs", None), "epochs: Field required"),
        (changed(CORRELATION, "epochs", "many"), "epochs: .*integer.*'many'"),
        (changed(CORRELATION, "epochs", 0), "epochs: .*greater than or equal to 1"),
        (changed(CORRELATION, "seeds", []), "seeds: .*at least 1"),
        (changed(CORRELATION, "seeds", [0, 0]), "seeds: values must differ"),
        (changed(CORRELATION, "datasets", {}), "datasets: .*at least 1"),
        (changed(CORRELATION, "datasets", ["digits"]), "datasets: expected names with values"),
        (changed(CORRELATION, "datasets/digits", 0.5), "datasets.digits: expected settings"),
        (
            changed(CORRELATION, "datasets/digits/least", 1),
            "unknown key 'least'; did you mean .*least_accuracy",
        ),
        (changed(CORRELATION, "datasets/digits/least_accuracy", 98), "least_accuracy: .*less than 1"),
        (changed(CORRELATION, "claims", {"robustness": "negative"}), "unknown quantity 'robustness'"),
        (changed(CORRELATION, "claims", {"sparsity": "down"}), "claims.sparsity: .*'down'"),
        (
            changed(CORRELATION, "published", {"sparsity": {"cnn": {"digits": -1}}}),
            "published.sparsity: unknown network 'cnn'; did you mean cnn6",
        ),
        (
            changed(CORRELATION, "published", {"sparsity": {"cnn6": {"digit": -1}}}),
            "published.sparsity.cnn6: unknown data set 'digit'; did you mean digits",
        ),
        (changed(CORRELATION, "published", {"sparsity": {"cnn6": {"digits": "low"}}}), "published.sparsity"),
        (changed(TABLE, "row", {}), "unknown key 'row'; did you mean rows"),
        (changed(TABLE, "rows", None), "rows: expected at least one"),
        (changed(TABLE, "columns", None), "columns: expected at least one"),
        (changed(TABLE, "columns", "bim@0.1"), "columns: expected a list"),
        (changed(TABLE, "columns", [3]), "columns: expected a name"),
        (changed(TABLE, "columns", ["bim@0.1", "bim@0.1"]), "columns: bim@0.1 is named twice"),
        (changed(TABLE, "columns", ["bin@0.1"]), "columns: unknown attack 'bin'; did you mean bim"),
        (changed(TABLE, "columns", ["bim@lots"]), "columns: ε must be a number"),
        (changed(TABLE, "columns", ["bim@0"]), "columns: ε must be above 0"),
        (changed(TABLE, "columns", ["clean_acuracy"]), "did you mean clean_accuracy"),
        (changed(TABLE, "columns", [{"name": "prs_ratio", "tite": "x"}]), "key of a column 'tite'"),
        (changed(TABLE, "columns", ["detection/recovery"]), "metric: detection_auc"),
        (changed(TABLE, "attacks", {"bim": {"step": 3}}), "attacks.bim: unknown attack setting 'step'"),
        (
            changed(TABLE, "attacks", {"bim": {"steps": 0}}),
            "attacks.bim: steps: .*greater than or equal to 1",
        ),
        (changed(TABLE, "attacks", {"mine": {"steps": 3}}), "attacks.mine: unknown attack 'mine'"),
        (changed(TABLE, "attacks", {"bim": {"restarts": 3}}), "without a random start"),
        (changed(TABLE, "rows/natural", "standard"), "rows.natural: expected settings"),
        (changed(TABLE, "rows/natural/defense", None), "rows.natural: defense is missing"),
        (changed(TABLE, "rows/natural/epoch", 3), "rows.natural: unknown key 'epoch'; did you mean epochs"),
        (changed(TABLE, "rows/natural/epochs", "x"), "rows.natural: epochs"),
        (changed(TABLE, "rows/natural/out", "/tmp"), "rows.natural: unknown key 'out'"),
        (
            changed(TABLE, "rows/natural/paper", {"bim@0.2": 3}),
            "rows.natural.paper: unknown column 'bim@0.2'",
        ),
        (changed(TABLE, "rows/natural/paper", {"bim@0.1": "high"}), "rows.natural: paper.bim@0.1"),
        (changed(TABLE, "train", {"models": "cnn6"}), "train: unknown key 'models'; did you mean model"),
        (changed(TABLE, "claims", ["jacobian > naturl at bim@0.1"]), "claims: unknown row 'naturl'"),
        (changed(TABLE, "claims", ["jacobian beats natural"]), "claims: expected"),
        (changed(TABLE, "images", 0), "images: .*greater than or equal to 1"),
        (changed(TABLE, "battery", "huge"), "battery: .*'huge'"),
        ("- a\n- b\n", "must hold settings"),
        ("study: [correlation\n", "not valid YAML at line"),
        ("study: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_mistake_names_file_key_and_what_was_expected(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path, values)
    assert "study.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none\.yaml"):
        load_study(tmp_path / "none.yaml")


def test_a_row_has_what_is_shared_then_its_own(tmp_path: Path) -> None:
    values = changed(TABLE, "train", {"dataset": "digits", "epochs": 9, "seeds": 3})
    study = load(tmp_path, changed(values, "rows/jacobian/epochs", 4))
    natural, jacobian = (study.rows[name].config for name in ("natural", "jacobian"))
    assert (natural.epochs, natural.seeds, natural.trials) == (9, (3,), 0)
    assert (jacobian.epochs, jacobian.dataset) == (4, "digits")


def test_an_attack_of_the_study_has_its_changes_and_ours_otherwise(tmp_path: Path) -> None:
    values = changed(
        TABLE, "attacks", {"bim": {"steps": 10, "step_size": 0.1}, "soft": {"like": "cw", "steps": 3}}
    )
    study = load(tmp_path, changed(values, "columns", ["bim@0.1", "soft@l2:0.5", "fgsm@8/255"]))
    bim, soft, fgsm = (column.attack for column in study.columns)
    assert (bim.steps, bim.step_size, bim.loss, bim.random_start) == (10, 0.1, "ce", False)
    assert (soft.name, soft.steps, soft.loss) == ("soft", 3, "margin")
    assert fgsm.steps == 1
    assert [str(column.threat) for column in study.columns] == ["linf:0.1", "l2:0.5", "linf:8/255"]


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_study_loads_and_its_defenses_take_their_settings(path: Path) -> None:
    study = load_study(path)
    assert study.title in outline(study)
    assert study.source
    if isinstance(study, TableStudy):
        for row in study.rows.values():
            get(row.config.defense).make(row.config.set)
        assert study.claims
    elif isinstance(study, PredictorsStudy):
        for configs in {**study.groups, **study.broken}.values():
            for config in configs:
                get(config.defense).make(config.set)
    else:
        assert isinstance(study, CorrelationStudy)
        assert study.published


def test_the_predictors_of_the_digits_are_those_of_the_full_study() -> None:
    full, half = (
        load_study(STUDIES / f"{name}.yaml") for name in ("predictors", "predictors-digits-autoattack")
    )
    assert isinstance(full, PredictorsStudy)
    assert isinstance(half, PredictorsStudy)
    for ours, theirs in ((half.groups, full.groups), (half.broken, full.broken)):
        assert ours
        assert ours == {name: configs for name, configs in theirs.items() if name.startswith("digits")}


def test_the_full_correlation_study_is_the_papers_grid() -> None:
    study = load_study(STUDIES / "p1-correlation.yaml")
    assert isinstance(study, CorrelationStudy)
    assert len(study.models) * len(study.datasets) * len(study.batch_sizes) * len(study.seeds) == 180
    assert study.epochs == 300
    # Nine slopes for each of four quantities; the paper's only positive ones are these.
    slopes = {
        (quantity, network, name): published.slope
        for quantity, networks in study.published.items()
        for network, names in networks.items()
        for name, published in names.items()
    }
    assert len(slopes) == 36
    assert {key for key, slope in slopes.items() if slope > 0} == {
        ("final_layer_cosine", "vgg16", "cifar10"),
        ("sparsity", "resnet18", "mnist"),
        ("sparsity", "resnet18", "fashion-mnist"),
    }
