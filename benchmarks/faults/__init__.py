"""Faults from outside, provoked on purpose and counted: damaged files, kills, full disks, secrets, bad input.

Each module beside this one provokes one class of fault; `__main__` lists them. A fault that is found again is an
entry of the table, so a table without entries is the aim.
"""

from benchmarks.faults.altered import ALTERED
from benchmarks.faults.bad_input import BAD_INPUT
from benchmarks.faults.damaged import DAMAGED
from benchmarks.faults.damaged_runs import DAMAGED_RUNS
from benchmarks.faults.disk import DISK
from benchmarks.faults.networks import NETWORKS
from benchmarks.faults.pictures import PICTURES
from benchmarks.faults.plugins import PLUGINS
from benchmarks.faults.records import RECORDS
from benchmarks.faults.secrets import SECRETS
from benchmarks.faults.servers import SERVERS
from benchmarks.faults.signals import SIGNALS
from benchmarks.faults.sites import SITES
from benchmarks.faults.stores import STORES
from benchmarks.faults.sweep_servers import SWEEP_SERVERS
from benchmarks.faults.sweeps import SWEEPS
from benchmarks.faults.trial import FaultClass

#: Every class by its name.
CLASSES: dict[str, FaultClass] = {
    each.name: each
    for each in (
        BAD_INPUT,  # one line each
        DAMAGED,
        PICTURES,
        PLUGINS,
        RECORDS,
        NETWORKS,
        SECRETS,
        SERVERS,
        SIGNALS,
        STORES,
        SITES,
        DAMAGED_RUNS,
        DISK,
        ALTERED,
        *SWEEPS,
        *SWEEP_SERVERS,
    )
}
