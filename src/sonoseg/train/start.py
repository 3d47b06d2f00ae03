"""How a training starts: with first weights, or where an earlier one in the same folder stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from sonoseg.errors import InputError, MachineError, is_out_of_memory
from sonoseg.files import is_there, write_error, write_json
from sonoseg.inputs import readable_file
from sonoseg.models.encoders import load_matching, load_tensors
from sonoseg.models.network import SegmentationNetwork
from sonoseg.progress import note
from sonoseg.train.module import SegmentationModule
from sonoseg.train.record import Record
from sonoseg.train.run_folder import BEST, CONFIG, LAST, RunConfig, check_claim, find_run


def first_weights(
    config: RunConfig, encoder_weights: str, start_from: Path | None
) -> SegmentationNetwork:
    """The network before its first step, its random parts drawn from the seed.

    Where the config says that its encoders have no first weights, `encoder_weights` is not asked for any.
    """
    torch.manual_seed(config.seed)
    if config.encoder_weights == "none":
        encoder_weights = "none"
    pretrained = encoder_weights == "imagenet" and start_from is None
    model = config.network.build(config.recipe.dropout, pretrained)
    if start_from is not None:
        load_matching(model, find_run(start_from))
    elif encoder_weights not in ("imagenet", "none"):
        load_matching(model, find_run(encoder_weights), prefix="encoders.")
    elif config.encoder_weights == "none" and not config.start_from and config.network.frozen:
        print(
            "note: these encoders are frozen at random weights; they will learn nothing",
            file=sys.stderr,
        )
    return model.to(memory_format=torch.channels_last)


def check_part(model: SegmentationNetwork, part: str) -> None:
    """Refuses to teach a part that the network does not have, or that is frozen.

    Raises:
        InputError: it is none of those that are named.
    """
    parts = {
        name.split(".")[0]: None
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
    if part and part not in parts:
        raise InputError(
            f"--learn {part}",
            "this network has nothing of that name to teach",
            f"try {', '.join(parts)}",
        )


def can_go_on(folder: Path) -> bool:
    """Whether an interrupted or finished training is in `folder`, with its weights.

    A checkpoint whose best weights are lost is of no use: only the last epoch's are in it.
    """
    if not is_there(folder / LAST):
        return False
    try:
        load_tensors(folder)
    except InputError:
        return False
    return True


def claim(folder: Path, config: RunConfig, record: Record, begun: bool) -> bool:
    """Writes into the folder, which is `held`, whose it is; a checkpoint that is of no use goes.

    Args:
        folder: the run folder.
        config: what is to be trained.
        record: on which images.
        begun: whether the folder held a training to go on with when it was looked at, before it was held.

    Returns:
        Whether it holds one now: another process may have trained since.

    Raises:
        InputError: the folder is another run's by now, or cannot be written to.
    """
    check_claim(folder, config, record)
    now = can_go_on(folder)
    if begun and not now:
        raise MachineError(
            folder, "its checkpoint or weights have just gone", "give the same command again"
        )
    if not now and is_there(folder / LAST):
        note(f"note: {folder / BEST} is missing or damaged; the training begins again")
        try:
            (folder / LAST).unlink()
        except OSError as error:
            raise write_error(folder / LAST, error) from error
    record.write(folder)
    write_json(folder / CONFIG, config.to_json())
    return now


def check_checkpoint(file: Path, module: SegmentationModule) -> None:
    """Refuses a checkpoint that Lightning could not go on from.

    Raises:
        InputError: it is damaged, or of another network.
    """
    hint = "delete it; the training then begins again"
    try:
        state = torch.load(readable_file(file), map_location="cpu", weights_only=True)
        weights, history = state["state_dict"], state["callbacks"]["RunFolder"]["history"]
    except Exception as error:  # a damaged file makes PyTorch raise many kinds
        if is_out_of_memory(error):
            raise
        raise InputError(file, "is damaged or cut short", hint) from error
    own = {name: tensor.shape for name, tensor in module.state_dict().items()}
    if not history or own != {name: tensor.shape for name, tensor in weights.items()}:
        raise InputError(file, "is of another network", hint)
