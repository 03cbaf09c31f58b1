"""What finetuning starts with: random weights, an encoder of sound, or one of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras

from sepcon.models.encoder_files import load_encoder
from sepcon.models.images.encoder_files import load_image_encoder, take_body
from sepcon.models.model_file import IMAGE_ENCODER, read_kind
from sepcon.tasks.log_mel_views import LogMelViews


@dataclasses.dataclass(frozen=True)
class Start:
    """A start, ready to be copied for every fold and seed.

    Attributes:
      encoder: with its weights; None for random ones, others for each seed.
      views: with the front-end that the encoder needs.
    """

    encoder: keras.Model | None
    views: LogMelViews


def open_start(
    start: str | Path, *, encoder: Callable[..., keras.Model], views: LogMelViews
) -> Start:
    """Opens a run of `sepcon pretrain` as the start of finetuning.

    An encoder of sound is taken with its front-end. Of an encoder of images all layers are taken
    but the normalisation of its input; the encoder that `encoder` makes gets their weights, and the
    views keep their front-end.

    Args:
      start: the run; empty for random weights.
      encoder: makes an encoder, given what `views` say of its input.
      views: cut the patches.

    Raises:
      SepconError: it is no such run, or its network is another than what `encoder` makes.
    """
    if not str(start):
        return Start(None, views)
    if read_kind(Path(start).expanduser()) == IMAGE_ENCODER:
        own = encoder(**views.encoder_arguments)
        take_body(own, load_image_encoder(Path(start).expanduser()))
        return Start(own, views)
    loaded = load_encoder(start)
    return Start(loaded.encoder, dataclasses.replace(views, log_mel=loaded.log_mel))
