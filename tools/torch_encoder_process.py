"""Runs in PyTorch what encoder_process.py runs in TensorFlow, with torchvision's networks.

Started by tools/benchmark_encoder.py, in an environment that has both.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torchvision
from benchmark_process import GEMM_SIZE, serve

FRAMES_PER_SECOND = 100
MEL_BANDS = 64
EMBEDDING_SIZE = 512
PROJECTION_SIZE = 128
TEMPERATURE = 0.2


def encoder_step(network: str, *, precision: str, batch: int, seconds: float) -> Callable:
    """Forward pass, backward pass and Adam, channels last, which is the faster here."""
    model = getattr(torchvision.models, network)(num_classes=EMBEDDING_SIZE)
    first = next(each for each in model.modules() if isinstance(each, torch.nn.Conv2d))
    first.weight = torch.nn.Parameter(first.weight.detach()[:, :1].clone())
    first.in_channels = 1
    if hasattr(model, "classifier"):  # without the dropout, which the other side has not
        model.classifier = model.classifier[-1]
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    frames = round(seconds * FRAMES_PER_SECOND)
    log_mel = torch.randn(batch, 1, frames, MEL_BANDS).to(memory_format=torch.channels_last)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            embedding = model(log_mel)
        loss = embedding.float().square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def loss_step(*, pairs: int) -> Callable:
    """NT-Xent and its gradients as they are usually written."""
    anchor = torch.randn(pairs, PROJECTION_SIZE)
    positive = (anchor + 0.5 * torch.randn(pairs, PROJECTION_SIZE)).requires_grad_()
    anchor.requires_grad_()
    partner = torch.cat([torch.arange(pairs) + pairs, torch.arange(pairs)])

    def step() -> None:
        anchor.grad = positive.grad = None
        views = torch.nn.functional.normalize(torch.cat([anchor, positive]), dim=1)
        logits = (views @ views.T / TEMPERATURE).fill_diagonal_(-torch.inf)
        torch.nn.functional.cross_entropy(logits, partner).backward()

    return step


def main() -> None:
    """Answers until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True)
    parser.add_argument("--form", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.network == "nt_xent":
        step = loss_step(pairs=options.pairs)
    else:
        step = encoder_step(
            options.network,
            precision=options.form,
            batch=options.batch,
            seconds=options.seconds,
        )
    square = torch.randn(GEMM_SIZE, GEMM_SIZE)
    serve({"step": step, "gemm": lambda: square @ square}, {"library": torch.__version__})


if __name__ == "__main__":
    main()
