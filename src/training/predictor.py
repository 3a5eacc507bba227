"""A model at inference on its device, in mixed precision where that is faster."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from src.training import distributed
from src.training.data_loading import BatchDataset, unaugmented
from src.training.device import choose_precision, evaluation_batch

# Mean and deviation of the crops' pixels; the authors of the paper measured these.
MEAN, STD = 0.2124, 0.1608
# Where a network ends in maps of one pixel, a CPU's bfloat16 convolutions gave NaN now
# and then, by what their memory had held before (oneDNN of torch 2.14, crops of 16 px).
MIN_BFLOAT16_PX = 32


class Predictor:
    """Turns uint8 images into a model's outputs."""

    def __init__(
        self,
        model: nn.Module,
        input_px: int,
        device: torch.device,
        precision: torch.dtype | None = None,
    ) -> None:
        """Move the model to the device; precision: the device's fastest if None."""
        self.input_px, self.device = input_px, device
        self.precision = precision or choose_precision(device, model)
        self.model = model.to(device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return the model's float32 outputs for uint8 images, on the device."""
        return self._run(self.model, images)

    @torch.inference_mode()
    def attention(self, images: torch.Tensor) -> torch.Tensor:
        """Return the shares of uint8 images in an attention model's pooling.

        Their shape is that of the model's `attention`.
        """
        attention: Callable[[torch.Tensor], torch.Tensor] = self.model.attention  # type: ignore[assignment]
        return self._run(attention, images)

    def _run(
        self, network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor
    ) -> torch.Tensor:
        self.model.eval()
        scaled = self._images(images)
        with self._autocast(images):
            outputs = network(scaled).float()
        if self.precision is torch.float16 and not outputs.isfinite().all():
            outputs = network(scaled).float()  # half precision overflowed
        return outputs

    @torch.inference_mode()
    def logits(self, dataset: BatchDataset, batch_size: int) -> torch.Tensor:
        """Return the outputs [n, classes] for all rows of a dataset, on the CPU.

        The rows are divided among the processes, and each gets all outputs.
        batch_size: rows that fit the device in training.
        """
        rank, processes = distributed.rank(), distributed.world_size()
        own = np.arange(len(dataset))[rank::processes]
        rows = own if len(own) else [0]  # more processes than rows: for its width
        mine = self._outputs_of(dataset, rows, batch_size)[: len(own)]
        every = mine.new_zeros(len(dataset), mine.shape[1])
        every[torch.from_numpy(own)] = mine
        return distributed.all_reduce_sum(every).cpu()

    def _outputs_of(
        self, dataset: BatchDataset, rows: Sequence[int] | np.ndarray, batch_size: int
    ) -> torch.Tensor:
        """Return the outputs of some rows, by larger batches where they fit."""
        size = evaluation_batch(batch_size, self.device)
        while True:
            try:
                batches = unaugmented(dataset, rows, size)
                return torch.cat([self.outputs(batch.images) for batch in batches])
            except torch.OutOfMemoryError:
                if size <= batch_size:
                    raise
                size = batch_size

    def _images(self, crops: torch.Tensor) -> torch.Tensor:
        """Send uint8 crops to the device, a quarter of float32's bytes, then scale."""
        colours = crops.ndim == 4  # else one-channel slices of several views
        layout = torch.channels_last if colours else torch.contiguous_format
        crops = crops.to(self.device, memory_format=layout, non_blocking=True)
        images = normalize(crops)
        if self.input_px in (0, images.shape[-1]):
            return images
        side = (self.input_px, self.input_px)
        # Where an image grows there is nothing to smooth: the same at thrice the speed.
        shrinks = self.input_px < images.shape[-1]
        flat = images.flatten(0, -4)
        scaled = interpolate(flat, side, mode="bilinear", antialias=shrinks)
        return scaled.unflatten(0, images.shape[:-3])

    def _autocast(self, images: torch.Tensor) -> torch.autocast:
        """Compute in the model's precision, except on images too small for a CPU's."""
        mixed = self.precision is not torch.float32
        if self.device.type == "cpu" and self.precision is torch.bfloat16:
            mixed = (self.input_px or images.shape[-1]) >= MIN_BFLOAT16_PX
        dtype = self.precision if mixed else None
        return torch.autocast(self.device.type, dtype=dtype, enabled=mixed)


def normalize(crops: torch.Tensor) -> torch.Tensor:
    """Normalise uint8 crops [n, channels, px, px] to float32 images, where they are."""
    return (crops.float() / 255 - MEAN) / STD
