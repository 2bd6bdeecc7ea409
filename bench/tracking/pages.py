"""MLflow's server with one page more, which opens the saved view of the results.

MLflow keeps in the browser whether its pages are laid out for language models or for trained ones, and takes the
former until somebody chose: runs would then be shown as evaluations of prompts, whatever kind the experiment has.
The page makes the choice, and leads on.
"""

import os
from html import escape

from mlflow.server.fastapi_app import app
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

#: Where the page leads: the part of the address behind the server's.
RESULTS_VARIABLE = "REGIONBENCH_RESULTS"
PATH = "/results"
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Results</title>
<p><a id="next" href="{address}">Results in MLflow</a></p>
<script>
localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"');
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
location.replace(document.getElementById("next").href);
</script>
"""


def _results(request: Request) -> HTMLResponse:
    address = "./" + os.environ.get(RESULTS_VARIABLE, "#/experiments")
    return HTMLResponse(_PAGE.format(address=escape(address)))


app.router.routes.insert(0, Route(PATH, _results))
