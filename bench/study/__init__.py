"""Studies over many trainings: the papers' tables and regressions, ours beside theirs."""

from bench.study.spec import CorrelationStudy, TableStudy, load_study
from bench.study.study import run_study

__all__ = ["CorrelationStudy", "TableStudy", "load_study", "run_study"]
