"""`sonoseg average` and `sonoseg ensemble`: one network made of several runs.

The average has the means of their weights (model soup, Wortsman et al. 2022). The ensemble keeps all weights, and has
the means of their logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from sonoseg.errors import InputError, counted
from sonoseg.files import atomic_files, write_json
from sonoseg.lock import held
from sonoseg.models.fusion_unet import Ensemble, FusionUNet, FusionUNetConfig
from sonoseg.models.narrow import insides
from sonoseg.models.network import NetworkConfig, SegmentationNetwork
from sonoseg.train.record import Record
from sonoseg.train.run_folder import (
    CONFIG,
    RunConfig,
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
    return f"{out}: the mean of {counted(len(runs), 'run')}"


def ensemble_command(runs: Sequence[Path], out: Path, half: bool = False) -> str:
    """`sonoseg ensemble`: writes the run folder; returns the text to print. See `ensemble_runs`."""
    ensemble_runs(runs, out, half)
    return f"{out}: {len(runs)} networks whose logits are averaged"


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
    models, config = load_alike(runs)
    models[0].load_state_dict(mean_state([model.state_dict() for model in models]))
    config = replace(config, start_from=f"mean of {fingerprints(runs)}")
    write_combined(runs, models[0], config, out, half)


def ensemble_runs(runs: Sequence[Path], out: Path, half: bool = False) -> None:
    """Writes a run folder whose network is that of all `runs` side by side (see `models.fusion_unet.Ensemble`).

    The runs may have started from different weights. The ensemble is as slow, and as large, as all of them together.

    Args:
        runs: at least two run folders, or names of bundled models.
        out: the run folder to write.
        half: store the weights in 16 bits (see `save_weights`).

    Raises:
        InputError: fewer than two runs, one twice, a run that cannot be read or cannot be a member, networks or sizes
            that differ, or an `out` that holds another run.
    """
    if len(runs) < 2 or len({run.resolve() for run in runs}) < len(runs):
        problem = "an ensemble needs at least two different ones"
        raise InputError("runs", problem, "name more run folders")
    members: list[FusionUNet] = []
    inner: list[int] = []
    models, config = load_alike(runs, but_for_inner=True)
    for run, model in zip(runs, models, strict=True):
        if not isinstance(model, FusionUNet) or isinstance(model, Ensemble):
            problem = "its network cannot be a member of an ensemble"
            raise InputError(run, problem, "give runs of sonoseg-1 or Models 1 to 20")
        members.append(model)
        inner += [inside.width for inside in insides(model)]
    assert isinstance(config.network, FusionUNetConfig)
    config = replace(
        config,
        network=replace(config.network, members=len(members), inner=tuple(inner)),
        start_from=f"ensemble of {fingerprints(runs)}",
    )
    write_combined(runs, Ensemble(members), config, out, half)


def load_alike(
    runs: Sequence[Path], but_for_inner: bool = False
) -> tuple[list[SegmentationNetwork], RunConfig]:
    """The networks of `runs`, and the config of the first.

    Args:
        runs: run folders, or names of bundled models.
        but_for_inner: their encoders may be more or less slim (see `sonoseg slim`).

    Raises:
        InputError: a run cannot be read, or has another network or image size than the first.
    """

    def kind(config: RunConfig) -> tuple[NetworkConfig, int]:
        network = config.network
        if but_for_inner and isinstance(network, FusionUNetConfig):
            network = replace(network, inner=())
        return network, config.size

    loaded = [load_run(run) for run in runs]
    _, first = loaded[0]
    for run, (_, config) in zip(runs, loaded, strict=True):
        if kind(config) != kind(first):
            problem = f"has another network or image size than {runs[0]}"
            raise InputError(run, problem, "give runs of the same network")
    return [model for model, _ in loaded], first


def fingerprints(runs: Sequence[Path]) -> str:
    """Names and checksums of the weights of `runs`."""
    return ", ".join(map(fingerprint, runs))


def write_combined(
    runs: Sequence[Path],
    model: SegmentationNetwork,
    config: RunConfig,
    out: Path,
    half: bool,
) -> None:
    """Writes the run folder of a network that was made of `runs`.

    Args:
        runs: its parents.
        model: the network.
        config: of the first parent, with what has changed.
        out: the run folder to write.
        half: store the weights in 16 bits.

    Raises:
        InputError: `out` holds another run.
    """
    record = Record((), seen_before(*runs))
    config = replace(config, cases=record.digest, lineage=lineage(*runs))
    check_claim(out, config)
    with held(out), atomic_files():
        # Again, since another process may have written a run before this one had the lock.
        check_claim(out, config)
        save_weights(out, model, half)
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
