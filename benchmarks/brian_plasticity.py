"""Time of a spiking population whose lateral synapses learn, against static synapses and a rule in every time step.

Leaky integrate-and-fire neurons with noise of their own fire at about 9 Hz; all-to-all synapses inhibit them by
nanovolts. Everything is computed and no spike is changed, so that all opponents emit the same spikes (the benchmark
checks it): the number of spikes, which sets the cost, makes no difference between them. Steps of 0.1 ms.

- static: the synapses transmit a constant weight. The floor.
- lateral_covariance: the rule with its rate homeostasis, two lines on the same neurons; and with
  moved_by="clock", which is not the clock-driven opponent: once in half a trace time.
- clock-driven: the same learning written by hand as one statement for every synapse and time step, in a single pass
  (`run_regularly`), w += dt*rate*(x_j (x_i - <x_i>) + x_i (x_j - <x_j>))/tau: spikes are replaced by x/tau, which has
  the same mean drift, since the trace of a trace counts coincidences with the same exponential. Traces, means and bias
  are in the neurons' own equations; transmission is by spikes.

Times are of the simulation alone, without compilation, in seconds a simulated second. The clock-driven case costs the
same in every step, so that a fraction of a second is enough where it is slow. Memory is the peak of the compiled
program, its excess over static ones in bytes a synapse; a float has eight.
`huge pages` is the same program in memory pages of 2 MB (GLIBC_TUNABLES=glibc.malloc.hugetlb=1), for both opponents.

Usage: python benchmarks/brian_plasticity.py [--sizes N ...] [--targets cython cpp_standalone] [--seconds S]
       [--skip clock-driven] [--parts] [--float32] [--rounds N] [--out FILE.csv]
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import brian2
import numpy as np
from brian2 import Hz, NeuronGroup, SpikeMonitor, Synapses, ms, second
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import options, ratio, show

RATE = 1e-3  # change of the weight for a trace of one spike
TRACE, MEAN = 50 * ms, 10 * second
TARGET, BIAS = 10 * Hz, 10 * Hz  # rate that the homeostasis keeps, and its own rate
PASSES = 4e8  # synapses times steps of a clock-driven run
HUGE = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
CLOCK = "lateral_covariance, clock"
CASES = (
    "static",
    "lateral_covariance",
    CLOCK,
    "clock-driven",
)  # a rule of nd.brian is added here, and in lateral()
NEURON = """
dv/dt = (14.5*mV - v + g)/(20*ms) + 6*mV*xi/sqrt(20*ms) : volt (unless refractory)
dg/dt = -g/(5*ms){injected} : volt
"""
BY_HAND = """
dx/dt = -x/trace_time : 1
dm/dt = (x - x*dt/trace_time - m)/clip(t, trace_time, mean_time) : 1
dbias/dt = bias_rate*target_rate : Hz
"""
CHANGE = "(x_pre*(x_post - m_post) + x_post*(x_pre - m_pre))/trace_time"


def population(size: int, by_hand: bool = False) -> NeuronGroup:
    """The neurons; with traces, means and bias of their own where plasticity is written by hand."""
    group = NeuronGroup(
        size,
        NEURON.format(injected=" + bias*1e-6*mV" if by_hand else "") + (BY_HAND if by_hand else ""),
        threshold="v > 20*mV",
        reset="v = 0*mV" + ("\nx += 1\nbias -= bias_rate" if by_hand else ""),
        refractory=2 * ms,
        method="euler",
        namespace={"trace_time": TRACE, "mean_time": MEAN, "target_rate": TARGET, "bias_rate": BIAS},
    )
    group.v = "rand()*20*mV"
    return group


def lateral(case: str, group: NeuronGroup) -> Synapses:
    """The synapses of a case, not connected yet."""
    drive = "g_post -= w*1e-6*mV"
    if case.startswith("lateral_covariance"):
        rule = nd.brian.get(
            "lateral_covariance",
            rate=RATE,
            trace_time=TRACE,
            mean_time=MEAN,
            homeostasis=nd.brian.Homeostasis(target_rate=TARGET, rate=BIAS),
            gain=None,
            moved_by="clock" if case == CLOCK else "spikes",
        )
        return rule.synapses(group, drive=drive)
    synapses = Synapses(group, group, "w : 1", on_pre=drive, namespace={"trace_time": TRACE, "learning_rate": RATE})
    if case == "clock-driven":
        synapses.run_regularly(f"w = clip(w + learning_rate*dt*{CHANGE}, 0, 1)", when="before_synapses")
    return synapses


@dataclass(frozen=True)
class Run:
    """Measurements: seconds of wall time of the simulation, bytes of memory, and the spikes."""

    seconds: float
    memory: int
    times: NDArray[np.float64]


class Compiled:
    """A case as a program of its own, which starts anew in every run."""

    def __init__(self, case: str, target: str, size: int, duration: float, parts: bool) -> None:
        """Write and compile it."""
        self._directory = tempfile.TemporaryDirectory()
        brian2.set_device(target, build_on_run=False, directory=self._directory.name)
        brian2.prefs.devices.cpp_standalone.extra_make_args_unix = [f"-j{len(os.sched_getaffinity(0))}", "-s"]
        network, spikes = assemble(case, size)
        network.run(duration * second, profile=parts, namespace={})
        device = brian2.get_device()
        device.build(directory=self._directory.name, compile=True, run=False)
        self._times = device.get_array_filename(spikes.variables["t"]), spikes.variables["t"].dtype

    def run(self, environment: dict[str, str]) -> Run:
        """Run it, alone in its process, so that its peak of memory is known."""
        folder = Path(self._directory.name)
        program = subprocess.Popen([str(folder / "main")], cwd=folder, env=os.environ | environment)
        _, status, usage = os.wait4(program.pid, 0)
        if status != 0:
            raise RuntimeError(f"the compiled program ended with status {status}.")
        seconds = float((folder / "results" / "last_run_info.txt").read_text(encoding="utf-8").split()[0])
        return Run(
            seconds, usage.ru_maxrss * 1024, np.fromfile(folder / "results" / self._times[0], dtype=self._times[1])
        )

    def parts(self) -> dict[str, float]:
        """Seconds of every object in the last run."""
        lines = (Path(self._directory.name) / "results" / "profiling_info.txt").read_text(encoding="utf-8").split("\n")
        return {line.split("\t")[0]: float(line.split("\t")[1]) for line in lines if line}


class Interpreted:
    """A case run by Python, which goes on where the last run ended."""

    def __init__(self, case: str, target: str, size: int, duration: float, parts: bool) -> None:
        """Make it, and run the first steps, in which it is compiled."""
        brian2.prefs.codegen.target = target
        self._network, self._spikes = assemble(case, size)
        self._duration, self._profiled = duration, parts
        self._network.run(1 * ms, namespace={})

    def run(self, _: dict[str, str]) -> Run:
        """Go on; the time is that of the loop over steps, without what Brian2 prepares before it."""
        elapsed = [0.0]

        def keep(taken: Any, *_: Any) -> None:
            elapsed[0] = float(taken)

        self._network.run(
            self._duration * second, report=keep, report_period=1e9 * second, profile=self._profiled, namespace={}
        )
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Run(elapsed[0], memory, np.asarray(self._spikes.t))

    def parts(self) -> dict[str, float]:
        """Seconds of every object in the last run."""
        return {name: float(taken) for name, taken in self._network.profiling_info}


def assemble(case: str, size: int) -> tuple[brian2.Network, SpikeMonitor]:
    """The whole network of a case."""
    brian2.seed(1)
    brian2.defaultclock.dt = 0.1 * ms
    group = population(size, by_hand=case == "clock-driven")
    synapses, spikes = lateral(case, group), SpikeMonitor(group)
    synapses.connect(condition="i != j")
    synapses.w = 0.5
    return brian2.Network(group, synapses, spikes), spikes


def serve(connection: Connection, *arguments: Any) -> None:
    """Case in a separate process, since a device of Brian2 cannot be unset; it runs on request."""
    case, target, size, duration, parts, wide = arguments
    if not wide:
        brian2.prefs.core.default_float_dtype = np.float32
    kind = Compiled if target == "cpp_standalone" else Interpreted
    made = kind(case, target, size, duration, parts)
    connection.send("ready")
    while (environment := connection.recv()) is not None:
        connection.send(made.run(environment))
    connection.send(made.parts() if parts else {})


class Opponents:
    """Measure all cases of one target and size in turn, each in its process."""

    def __init__(self, target: str, size: int, durations: dict[str, float], parts: bool, wide: bool) -> None:
        """Start and compile them, one after the other."""
        context = multiprocessing.get_context("spawn")
        self._connections: dict[str, Connection] = {}
        self._processes = []
        for case, duration in durations.items():
            print(f"{target}, {size} neurons: compiling {case}", file=sys.stderr, flush=True)
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, case, target, size, duration, parts, wide))
            process.start()
            there.close()  # so that an end of the process is an end of the connection
            here.recv()
            self._connections[case] = here
            self._processes.append(process)

    def run(self, case: str, environment: dict[str, str]) -> Run:
        """Run a case once more."""
        self._connections[case].send(environment)
        done: Run = self._connections[case].recv()
        return done

    def close(self) -> dict[str, dict[str, float]]:
        """End the processes; the seconds of their objects in the last run, by case."""
        parts = {}
        for case, connection in self._connections.items():
            connection.send(None)
            parts[case] = connection.recv()
        for process in self._processes:
            process.join()
        return parts


def same_spikes(runs: dict[str, list[Run]], durations: dict[str, float]) -> float:
    """Mean number of spikes a second, after a check that all cases have the same ones while all of them ran."""
    common = min(durations.values())
    trains = {case: np.sort(runs[case][0].times[runs[case][0].times < common]) for case in durations}
    expected = trains["static"]
    for case, train in trains.items():
        if len(train) != len(expected) or not np.allclose(train, expected):
            raise RuntimeError(f"{case} does not emit the spikes of static synapses: {len(train)}, {len(expected)}.")
    return float((runs["static"][0].times < durations["static"]).sum() / durations["static"])


def compare(
    target: str, size: int, chosen: list[str], arguments: Any
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Make a table with one row per case, and one per part where parts are measured."""
    step = 1e-4
    brief = max(20.0, PASSES / size**2) * step  # of the clock-driven case, which costs the same in every step
    durations = {
        case: min(arguments.seconds, brief) if case == "clock-driven" else arguments.seconds for case in chosen
    }
    opponents = Opponents(target, size, durations, arguments.parts, not arguments.float32)
    ways: dict[tuple[str, str], dict[str, str]] = {(case, ""): {} for case in chosen}
    if target == "cpp_standalone" and not arguments.parts:
        ways |= {(case, ", huge pages"): HUGE for case in chosen if case != "clock-driven"}
    runs: dict[Any, list[Run]] = {way: [] for way in ways}
    print(f"{target}, {size} neurons: running", file=sys.stderr, flush=True)
    for index in range(arguments.rounds):
        for way in list(ways)[:: 1 if index % 2 == 0 else -1]:
            runs[way].append(opponents.run(way[0], ways[way]))
    parts = opponents.close()
    rate = same_spikes({case: runs[case, ""] for case in chosen}, durations) / size
    taken = {way: [run.seconds / durations[way[0]] for run in runs[way]] for way in ways}
    synapses = size * (size - 1)
    plain = target == "cpp_standalone" and size >= 1000
    rows = []
    for (case, pages), values in taken.items():
        excess = max(run.memory for run in runs[case, pages]) - max(run.memory for run in runs["static", pages])
        slowest = taken.get(("clock-driven", ""))
        rows.append(
            {
                "target": target,
                "neurons": str(size),
                "synapses": case + pages,
                "Hz": f"{rate:.2f}",
                "s / simulated s": f"{statistics.median(values):.3g}",
                "this / static": ratio(values, taken["static", pages]),
                "clock-driven / this": "" if slowest is None else ratio(slowest, values),
                # That of Python, or the size of a small program, hides that of the synapses.
                "B a synapse over static": f"{excess / synapses:.1f}" if plain else "",
            }
        )
    return rows, [
        {
            "target": target,
            "neurons": str(size),
            "synapses": case,
            "object": name,
            "s / simulated s": f"{seconds / durations[case]:.3g}",
        }
        for case, table in parts.items()
        for name, seconds in sorted(table.items(), key=lambda entry: -entry[1])
        if seconds > 0.01 * sum(table.values())
    ]


def main() -> None:
    """Measure and print."""
    parser = options("Time of learning synapses against static ones and a rule in every step.", rounds=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 400, 1000, 2000], help="neurons, all-to-all")
    parser.add_argument(
        "--targets",
        nargs="+",
        choices=["numpy", "cython", "cpp_standalone"],
        default=["cython", "cpp_standalone"],
        help="of Brian2's code generation (default: %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="simulated in a run (default: %(default)s)")
    parser.add_argument("--skip", nargs="+", choices=CASES[1:], default=[], help="cases to leave out")
    parser.add_argument("--parts", action="store_true", help="also the time of every object (measuring it costs time)")
    parser.add_argument("--float32", action="store_true", help="with core.default_float_dtype = float32")
    arguments = parser.parse_args()
    chosen = [case for case in CASES if case not in arguments.skip]
    print(f"{arguments.rounds} rounds of {arguments.seconds:g} s; ratios: median [quartiles] over rounds\n")
    rows, parts = [], []
    for target in arguments.targets:
        for size in arguments.sizes:
            new_rows, new_parts = compare(target, size, chosen, arguments)
            rows += new_rows
            parts += new_parts
    show(rows, arguments.out)
    if parts:
        print()
        show(parts, None)


if __name__ == "__main__":
    main()
