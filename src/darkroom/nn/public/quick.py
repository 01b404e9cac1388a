"""Layers of networks that are not ours, on a processor, by kernels that PyTorch has and does not take by itself.

A convolution multiplies by weights that lie in blocks, and PyTorch keeps them in rows: it reorders them for every call,
which for many channels and few cells takes longer than multiplying. Here they are reordered once. And what follows a
product (a bias, a gate, the sum with what went around a block) is made while the numbers are at hand, where each would
be a pass over memory of its own (oneDNN's post-ops, which PyTorch's compiler uses too). A layer gives what it gave, to
the bit or nearly; a block something nearer to real numbers, by roundings that are left out.

While gradients are taken, in number formats that have no such kernels, on other devices, and while a layer inside has
something beside it (:mod:`.branches`), all is as it was. A layer stays the ``nn.Linear`` or ``nn.Conv2d`` that it was.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FORMATS = (torch.bfloat16, torch.float32)
LARGE = 64 * 64  # cells from which on it pays to keep an upsampling's weights in another form


def quickened(network: Any) -> Any:
    """The network, whose layers and blocks that are known here take the quicker way from now on."""
    if there():
        for layer in network.modules():
            kind: Any = type(layer)
            known = _LAYERS.get(kind) or _block(kind)
            if known is not None:
                layer.__class__ = known
    return network


def packed(network: Any) -> Any:
    """The network with convolutions as they are quickest: with weights in blocks where it is :func:`quickened`, where
    not channels last. They take no more memory than before."""
    if not any(weight.is_mkldnn for weight in network.parameters()):
        network.to(memory_format=torch.channels_last)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, QuickConv2d) and layer.weight.device.type == "cpu" and layer.weight.dtype in _FORMATS:
                layer.pack()
    return network


class QuickLinear(nn.Linear):
    """A linear layer that adds its bias while it multiplies, and does not write it out in a pass of its own first."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        if self.bias is None or not _takes(self, x):
            return super().forward(x)
        return _ops()._linear_pointwise(x, self.weight, self.bias, "none", [], "")


class QuickConv2d(nn.Conv2d):
    """A convolution that reorders its weights once: when it is told to, or at its first picture."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, height, width) to (batch, out, ...), channels last."""
        if not self.takes(x):
            self.unpack()
            return super().forward(x)
        x = x.contiguous(memory_format=torch.channels_last)
        return _ops()._convolution_pointwise(x, self.pack(), self.bias, *self._places(), "none", [], "")

    def onto(self, x: Tensor, other: Tensor) -> Tensor:
        """What it makes of x plus ``other``, which is of the shape of that."""
        x, other = (one.contiguous(memory_format=torch.channels_last) for one in (x, other))
        given = (x, other, self.pack(), self.bias, *self._places())
        return _ops()._convolution_pointwise.binary(*given, "add", None, None, [], None)

    def takes(self, x: Tensor) -> bool:
        """Whether this way is open to x."""
        return self.padding_mode == "zeros" and not isinstance(self.padding, str) and _takes(self, x)

    def unpack(self) -> None:
        """Has the weights in rows again, until the next picture."""
        if self.weight.is_mkldnn:
            self.weight = nn.Parameter(self.weight.detach().to_dense(), requires_grad=False)

    def pack(self) -> Tensor:
        """Has the weights in blocks; returns them."""
        if not self.weight.is_mkldnn:
            blocks = _ops()._reorder_convolution_weight(self.weight, *self._places(), None)
            self.weight = nn.Parameter(blocks, requires_grad=False)
        return self.weight

    def _places(self) -> tuple[Any, ...]:
        return list(self.padding), list(self.stride), list(self.dilation), self.groups

    def _apply(self, fn: Any, recurse: bool = True) -> Any:  # another device, another format
        self.unpack()
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, *given: Any, **more: Any) -> None:
        self.unpack()
        super()._save_to_state_dict(*given, **more)


class QuickResidual(nn.Module):
    """diffusers' residual block (two convolutions with norms before them, arXiv:1603.05027; the time between them)."""

    def forward(self, input_tensor: Tensor, temb: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """(batch, in, height, width) and the time's vectors, (batch, width), to (batch, out, height, width)."""
        block: Any = self
        if not self._known(input_tensor, timeless=temb is None or self.time_emb_proj is None):
            return super().forward(input_tensor, temb, *args, **kwargs)
        h = block.conv1(F.silu(block.norm1(input_tensor), inplace=True))
        if temb is not None and block.time_emb_proj is not None:
            h += block.time_emb_proj(F.silu(temb))[:, :, None, None]
        h = F.silu(block.norm2(h), inplace=True)
        around = input_tensor if block.conv_shortcut is None else block.conv_shortcut(input_tensor)
        whole: Tensor = block.conv2.onto(h, around)
        return whole if block.output_scale_factor == 1 else whole / block.output_scale_factor

    def _known(self, x: Tensor, timeless: bool) -> bool:
        block: Any = self
        return (
            (timeless or block.time_embedding_norm == "default")
            and block.time_embedding_norm != "scale_shift"
            and block.upsample is None
            and block.downsample is None
            and not block.skip_time_act
            and not block.training
            and isinstance(block.nonlinearity, nn.SiLU)
            and isinstance(block.conv2, QuickConv2d)
            and _bare(block.conv2)
            and block.conv2.takes(x)
        )


class QuickGate(nn.Module):
    """diffusers' gated layer: one half of a product, times the other half's GELU (arXiv:2002.05202)."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., in) to (..., out)."""
        product = self.proj
        assert isinstance(product, nn.Linear)
        if not (isinstance(product, QuickLinear) and _bare(product) and _takes(product, hidden_states)):
            return super().forward(hidden_states, *args, **kwargs)
        (kept, kept_by), (gate, gate_by) = (
            (product.weight[half], None if product.bias is None else product.bias[half])
            for half in (slice(None, product.out_features // 2), slice(product.out_features // 2, None))
        )
        opened = _ops()._linear_pointwise(hidden_states, gate, gate_by, "gelu", [], "none")  # not the tanh
        return _ops()._linear_pointwise.binary(hidden_states, opened, kept, kept_by, "mul")


class QuickUpsample(nn.Module):
    """diffusers' upsampling: every cell four times, then a convolution of three by three.

    Each output cell sees two by two different inputs, and which two weights fall on one of them depends on where in its
    four it lies. So four convolutions of two by two, with weights that are sums, make the same of the smaller picture:
    four ninths of the products (the phases of arXiv:1609.07009, of this upsampling).
    """

    def forward(self, hidden_states: Tensor, output_size: Any = None, *args: Any, **kwargs: Any) -> Tensor:
        """(batch, in, height, width) to (batch, out, 2 height, 2 width)."""
        x = hidden_states
        if output_size is not None or not self._known(x):
            return super().forward(x, output_size, *args, **kwargs)
        conv: Any = self.conv
        batch, _, high, wide = x.shape
        made = x.new_empty(batch, 2 * high, 2 * wide, conv.out_channels).permute(0, 3, 1, 2)
        x = x.contiguous(memory_format=torch.channels_last)
        for place, weight in enumerate(self._phases()):
            down, right = divmod(place, 2)
            given = (x, weight, conv.bias, [1, 1], [1, 1], [1, 1], 1)
            seen = _ops()._convolution_pointwise(*given, "none", [], "")  # (batch, out, height + 1, width + 1)
            made[:, :, down::2, right::2] = seen[:, :, down : down + high, right : right + wide]
        return made

    def _known(self, x: Tensor) -> bool:
        block, conv = self, getattr(self, "conv", None)
        return (
            isinstance(conv, QuickConv2d)
            and (conv.kernel_size, conv.stride, conv.padding, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
            and conv.dilation == (1, 1)
            and bool(block.interpolate)
            and block.norm is None
            and x.shape[-2] * x.shape[-1] >= LARGE
            and _bare(conv)
            and conv.takes(x)
        )

    def _phases(self) -> list[Tensor]:
        """The weights of the upper left of each four, the upper right, and those below."""
        conv: Any = self.conv
        conv.unpack()
        kept = self.__dict__.get("_of")
        if kept is None or kept[0] is not conv.weight:
            rows = _halves(conv.weight.float(), 2)
            phases = [phase.to(conv.weight.dtype) for row in rows for phase in _halves(row, 3)]
            blocks = [_ops()._reorder_convolution_weight(one, [1, 1], [1, 1], [1, 1], 1, None) for one in phases]
            kept = self.__dict__["_of"] = (conv.weight, blocks)
        return kept[1]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.__dict__.pop("_of", None)
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, *given: Any, **more: Any) -> None:
        self.__dict__.pop("_of", None)
        super()._save_to_state_dict(*given, **more)


def _halves(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Three weights as two: for the first of two equal inputs (they are before, here, here), and for the second."""
    before, here, after = weight.unbind(axis)
    return torch.stack([before, here + after], axis), torch.stack([before + here, after], axis)


_LAYERS: dict[type[nn.Module], Any] = {nn.Linear: QuickLinear, nn.Conv2d: QuickConv2d}
_BLOCKS = {"ResnetBlock2D": QuickResidual, "GEGLU": QuickGate, "Upsample2D": QuickUpsample}


@cache
def _block(cls: Any) -> Any:
    """The class of a block of diffusers that is known here, which it stays; None of all others."""
    ours: Any = _BLOCKS.get(cls.__name__)
    known = ours is not None and cls.__module__.startswith("diffusers.") and not issubclass(cls, ours)
    return type(cls.__name__, (ours, cls), {}) if known else None


def _takes(layer: nn.Linear | nn.Conv2d, x: Tensor) -> bool:
    dtype = layer.weight.dtype
    return not torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == dtype and dtype in _FORMATS


def _bare(layer: nn.Module) -> bool:
    """Whether nothing is bound to a layer that wants to know when it is asked."""
    return not layer._forward_hooks and not layer._forward_pre_hooks


def _ops() -> Any:
    return torch.ops.mkldnn


@cache
def there() -> bool:
    """Whether this build of PyTorch has the kernels, tried out: they are its compiler's, and promised to nobody."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        x = torch.randn(1, 8, 4, 4)
        with torch.no_grad():
            layer, conv = QuickLinear(4, 4), QuickConv2d(8, 8, 3, padding=1)
            gate = _ops()._linear_pointwise(x, layer.weight, layer.bias, "gelu", [], "none")
            again = _ops()._linear_pointwise.binary(x, gate, layer.weight, layer.bias, "mul")
            found = (layer(x), again, conv(x), conv.onto(x, x))
        return all(one.shape == x.shape and bool(one.isfinite().all()) for one in found)
    except (AttributeError, RuntimeError, TypeError):
        return False
