"""`sonoseg average`: one network whose weights are the means of several runs' (model soup, Wortsman et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from sonoseg.errors import InputError
from sonoseg.files import atomic_files, write_json
from sonoseg.lock import held
from sonoseg.train.record import Record
from sonoseg.train.run_folder import (
    CONFIG,
    check_claim,
    fingerprint,
    lineage,
    load_run,
    save_weights,
    seen_before,
)


def average_command(runs: Sequence[Path], out: Path, half: bool = False) -> str:
    """`sonoseg average`: writes the run folder; returns the text to print. See `average_runs`."""
    average_runs(runs, out, half)
    plural = "s" if len(runs) > 1 else ""
    return f"{out}: the mean of {len(runs)} run{plural}"


def average_runs(runs: Sequence[Path], out: Path, half: bool = False) -> None:
    """Writes a run folder whose best weights are the mean of those of `runs`, batch statistics included.

    The mean is a good network only where the runs started from the same weights. It is as fast as one of them.

    Args:
        runs: run folders, or "default", the bundled model.
        out: the run folder to write.
        half: store the weights in 16 bits (see `save_weights`); one run is then enough.

    Raises:
        InputError: fewer than two runs and not `half`, a run that cannot be read, networks or sizes that differ, or an
            `out` that holds another run.
    """
    if len(runs) < 2 and not half:
        raise InputError(
            "runs", "an average needs at least two", "name more run folders"
        )
    first, first_config = load_run(runs[0])
    states = [first.state_dict()]
    for folder in runs[1:]:
        model, config = load_run(folder)
        if (config.network, config.size) != (first_config.network, first_config.size):
            problem = f"has another network or image size than {runs[0]}"
            raise InputError(folder, problem, "average runs of the same network")
        states.append(model.state_dict())

    record = Record((), seen_before(*runs))
    config = replace(
        first_config,
        cases=record.digest,
        start_from="mean of " + ", ".join(map(fingerprint, runs)),
        lineage=lineage(*runs),
    )
    check_claim(out, config)
    first.load_state_dict(mean_state(states))
    with held(out), atomic_files():
        # Again, since another process may have written a run before this one had the lock.
        check_claim(out, config)
        save_weights(out, first, half)
        record.write(out)
        write_json(out / CONFIG, config.to_json())


def mean_state(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several state dicts of one network, name by name."""
    mean = {}
    for name, value in states[0].items():
        total = value.double()  # float32 would round each sum
        for other in states[1:]:
            total = total + other[name].double()
        mean[name] = (total / len(states)).to(value.dtype)
    return mean
