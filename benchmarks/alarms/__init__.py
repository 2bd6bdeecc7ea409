"""How often the alarms are right: a zoo of networks that hide something, and of honest ones.

python -m benchmarks.alarms                    # everything; most of an hour on two cores, seconds once it is kept
python -m benchmarks.alarms --only one-hot     # networks whose name holds this
python -m benchmarks.alarms --part chosen     # without the held-out networks, which no limit was chosen on
python -m benchmarks.alarms --json             # every number, as JSON
REGIONBENCH_MNIST=FOLDER python -m benchmarks.alarms   # with held-out networks on MNIST, from that folder

Every network is measured with the accuracy metrics of the battery `quick` on 100 test images; where an alarm is
raised, the extra checks run as they do in `bench run`. What is compared with the truth (`truth.py`) is the worst
case before and after them. Weights and measurements are kept in the ignored folder `.zoo`. Measurements are taken
again where the code behind them has changed; alarms are read from the kept arrays every time.
"""
