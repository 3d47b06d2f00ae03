"""`sonoseg average`: one network whose weights are the means of several runs' (model soup, Wortsman et al. 2022)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sonoseg.errors import InputError
from sonoseg.files import atomic_files, write_json
from sonoseg.train.lock import held
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

if TYPE_CHECKING:
    from sonoseg.cli import Average


def average_command(options: Average) -> None:
    """`sonoseg average`: writes the run folder and says where it is."""
    average_runs(options.runs, options.out, options.half)
    print(f"{options.out}: the mean of {len(options.runs)} run{'s' * (len(options.runs) > 1)}")


def average_runs(runs: tuple[Path, ...], out: Path, half: bool = False) -> None:
    """Writes a run folder whose best weights are the mean of those of `runs`, batch statistics included.

    The mean is a good network only where the runs began with the same weights; it costs no more than one of them.
    With `half` it is stored in 16 bits (see `save_weights`), for which one run may do.

    Raises:
        InputError: fewer than two runs and not `half`, a run that cannot be read, networks or sizes that differ, or an
            `out` that holds another run.
    """
    if len(runs) < 2 and not half:
        raise InputError("runs", "an average needs at least two", "name more run folders")
    models, configs = zip(*map(load_run, runs), strict=True)
    for folder, config in zip(runs[1:], configs[1:], strict=True):
        if (config.network, config.size) != (configs[0].network, configs[0].size):
            raise InputError(
                folder, f"is another network or size than {runs[0]}", "average runs of one network"
            )
    origin = "mean of " + ", ".join(map(fingerprint, runs))
    record = Record((), seen_before(*runs))
    config = replace(configs[0], cases=record.digest, start_from=origin, lineage=lineage(*runs))
    check_claim(out, config)
    states = [model.state_dict() for model in models]
    mean = {
        name: (sum(state[name].double() for state in states) / len(states)).to(first.dtype)
        for name, first in states[0].items()
    }
    models[0].load_state_dict(mean)
    with held(out), atomic_files():
        check_claim(out, config)
        save_weights(out, models[0], half)
        record.write(out)
        write_json(out / CONFIG, config.to_json())
