"""Dask cluster made of Slurm jobs, which the user's own `jobqueue.yaml` describes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.study.cluster import Cluster
from neuro_decorr.study.failures import counted
from neuro_decorr.study.worker import Setup

_ENDING = 60
"""Time to cancel the jobs (s)."""
_WHERE = "~/.config/dask/jobqueue.yaml (section jobqueue: slurm:)"


def slurm(setup: Setup, jobs: int) -> Cluster:
    """Start workers in Slurm jobs, with the scheduler in this process.

    A job that ends before the study, for example at its time limit, is replaced. The jobs are cancelled at the end.

    Args:
        setup: Setup of every worker.
        jobs: Number of jobs.

    Returns:
        The workers.

    Raises:
        MissingExtra: dask-jobqueue is not installed.
        InvalidValue: There is no Slurm here, or it refuses such a job.
    """
    jobqueue, dask = _libraries()
    submit = shutil.which("sbatch")
    if submit is None:
        raise InvalidValue("--slurm: the command sbatch is not found; run this on a login node of the cluster.")
    missing = [name for name in ("cores", "memory") if not dask.config.get(f"jobqueue.slurm.{name}", None)]
    if missing:
        raise InvalidValue(f"--slurm: {_WHERE} lacks {' and '.join(missing)} of a job; add them there.")
    cores, processes = (dask.config.get(f"jobqueue.slurm.{name}", None) for name in ("cores", "processes"))
    if isinstance(cores, int) and isinstance(processes, int) and processes > cores:
        raise InvalidValue(f"--slurm: {_WHERE} says {processes} processes of {cores} cores; each needs one.")
    cluster = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # another scheduler on this machine may have the port of the dashboard
            cluster = jobqueue.SLURMCluster()
        script = cluster.job_script()
    except Exception as error:  # of any kind: the configuration is the user's
        if cluster is not None:
            cluster.close(timeout=_ENDING)
        raise InvalidValue(f"--slurm: dask-jobqueue cannot use {_WHERE}: {' '.join(str(error).split())}.") from error
    refusal = _refusal(submit, script)
    if refusal:
        cluster.close(timeout=_ENDING)
        raise InvalidValue(f"--slurm: sbatch refuses a job as {_WHERE} describes it: {refusal}")
    # Adaptive between N and N: a plain scale(N) would not replace a job that ended.
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    told = f"{counted(jobs, 'job')} of Slurm"
    return Cluster(setup, cluster.scheduler_address, description=told, close=partial(cluster.close, timeout=_ENDING))


def _libraries() -> tuple[Any, Any]:
    """Import dask-jobqueue and Dask, which then read the user's configuration."""
    try:
        return require("dask_jobqueue", "cluster"), require("dask", "cluster")
    except ValueError as error:  # not YAML
        raise InvalidValue(f"--slurm: {' '.join(str(error).split())}.") from error


def _refusal(submit: str, script: str) -> str:
    """Return the objection of Slurm to a job, without submitting it; empty when there is none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.sh"
        path.write_text(script)
        tried = subprocess.run([submit, "--test-only", str(path)], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else " ".join((tried.stderr or tried.stdout).split())
