"""Files of `torch.save` from anyone: read as data, and networks for the weights in them.

Nothing in a file is run, and a file cannot ask for more memory than it is large.
"""

import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from ganforge.errors import UserError, require
from ganforge.files.archives import Refused, check, said_of
from ganforge.files.finite import LARGEST_WEIGHT, listed, not_finite
from ganforge.files.folders import open_file
from ganforge.files.untrusted import first_line


def read(path: Path, said: str, *, legacy: bool = False) -> Any:
    """What a file of torch.save holds: tensors on the CPU and plain values.

    said: what the errors begin with. legacy: whether files of the time before PyTorch 1.6, which have no checksums, are
    read too. Raises UserError for a file that is damaged (every byte is checked), is compressed, or holds what would
    run code or take more memory than the file has bytes.
    """
    try:
        with open_file(path) as file:
            if not legacy or zipfile.is_zipfile(file):
                check(file)
            file.seek(0)
            contents = torch.load(file, map_location="cpu", weights_only=True)
            for tensor in _tensors(contents):
                _check_tensor(tensor)
    except Exception as error:  # readers of damaged files raise nearly anything
        raise said_of(error, said, is_refused=isinstance(error, pickle.UnpicklingError)) from error
    return contents


def _tensors(contents: Any) -> Iterator[Tensor]:
    """All tensors in nested containers, each container once: one can hold another a thousand times, or itself."""
    waiting, seen = [contents], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value)
            waiting.extend(value.values() if isinstance(value, dict) else ())


def _check_tensor(tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise Refused("a tensor of it has no values of its own")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise Refused("a tensor of it is larger than what is stored for it")


class _Uninitialized(TorchFunctionMode):
    """Within it weights are not initialised: to draw numbers without memory torch loads its compiler, for a second."""

    def __torch_function__(self, function: Any, types: Any, arguments: tuple = (), options: Any = None) -> Any:
        options = options or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return options["tensor"] if "tensor" in options else arguments[0]
        return function(*arguments, **options)


def fitted(build: Callable[[], nn.Module], weights: Mapping[str, Any], said: str) -> nn.Module:
    """The network of `build` with these weights, in evaluation mode.

    It is built without memory first, and never larger than the weights are: settings that ask for another network
    raise UserError, as do weights of other shapes and types, and such as are not finite.
    """
    require(
        all(isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()),
        f"{said}: its weights are no tensors with names",
    )
    room, own_thread = len(weights), get_ident()

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal room
        if get_ident() != own_thread:  # the hook is asked of all
            return
        room -= parameter is not None
        require(room >= 0, f"{said}: its weights do not fit the network it names, which has more of them")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), _Uninitialized():
            network = build()
    except UserError as error:
        raise UserError(f"{said}: {str(error).removeprefix(f'{said}: ')}") from error
    except Exception as error:  # values of any type, from anyone
        raise UserError(f"{said}: what it names does not fit this version of ganforge ({first_line(error)})") from error
    finally:
        hook.remove()
    differing = [
        f"{name} {_form(weights.get(name))} for {_form(value)}"
        for name, value in network.state_dict().items()
        if _form(weights.get(name)) != _form(value)
    ] or [f"{name} is too many" for name in weights.keys() - network.state_dict().keys()]
    require(not differing, f"{said}: its weights do not fit the network it names ({differing[0] if differing else ''})")
    needed = sum(value.numel() * value.element_size() for value in weights.values())
    stored = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in weights.values()}
    require(needed <= sum(stored.values()), f"{said}: several of its weights are the same memory")
    spoilt = not_finite(weights, LARGEST_WEIGHT)
    require(
        not spoilt,
        f"{said}: its weights are not finite, or too large to compute with ({listed(spoilt)}): its training had broken "
        "down; use another one",
    )
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _form(value: Tensor | None) -> str:
    return "nothing" if value is None else f"{value.dtype}".removeprefix("torch.") + f" {list(value.shape)}"
