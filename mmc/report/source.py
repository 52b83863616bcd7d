"""Which loss is meant: a name of the registry, or a class in a reader's own file."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path

from mmc.losses import LOSSES, Loss


def loss_class(text: str) -> tuple[str, type[Loss]]:
    """The name and class of a loss.

    Args:
        text: a printed name in `LOSSES`, `FILE.py:CLASS`, or `FILE.py` where only one loss is defined in it. The file
            is run, as Python would run it on import.

    Raises:
        ValueError: no such name, no such class, more than one to choose from, a class that is no `Loss`, or a file
            that cannot be run; the message says what there is.
        FileNotFoundError: there is no such file.
    """
    file, _, name = text.partition(":")
    if text in LOSSES:
        return text, LOSSES[text]
    if not file.endswith(".py"):
        near = [known for known in LOSSES if known.lower() == text.lower()]
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"no loss {text!r}.{hint} The registry has: {', '.join(LOSSES)}. For one of your own: my_loss.py:MyLoss"
        )
    found = {key: value for key, value in _run(Path(file)).items() if inspect.isclass(value)}
    own = [key for key, value in found.items() if issubclass(value, Loss) and value.__module__ == _module(file)]
    if not name:
        if len(own) != 1:
            raise ValueError(f"{file} defines {len(own)} losses ({', '.join(own)}): say which, as {file}:MyLoss")
        (name,) = own
    if name not in found:
        raise ValueError(f"{file} defines no class {name!r}; its losses are: {', '.join(own) or 'none'}")
    if not issubclass(found[name], Loss):
        raise ValueError(
            f"{name} in {file} is no loss: it must be a subclass of mmc.losses.Loss, with value and logits"
        )
    return name, found[name]


def _module(file: str) -> str:
    return f"reader_{Path(file).stem}"


def _run(file: Path) -> dict[str, object]:
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(_module(str(file)), file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    return vars(module)
