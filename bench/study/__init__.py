"""Studies over many trainings: reproduce the tables and regressions of papers, with their numbers beside ours."""

from bench.study.load import load_study
from bench.study.spec import CorrelationStudy, PredictorsStudy, TableStudy
from bench.study.study import plan_study, run_study

__all__ = ["CorrelationStudy", "PredictorsStudy", "TableStudy", "load_study", "plan_study", "run_study"]
