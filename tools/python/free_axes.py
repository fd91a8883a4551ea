"""Axes whose sizes stay free in a converted file: which, and inputs that have other sizes there.

Of each input they are a dict {axis: name}; axes of one name have one size. The batch is one.
"""
from __future__ import annotations

from typing import Any, Callable

BATCH = "batch"
EXPORT_SIZE = 2        # 1 would be taken for a size that is never another
OTHER_BATCHES = (1, 3) # compared too

Axes = list[dict[int, str]]


def batch_of(values: tuple) -> int:
    return next((int(value.shape[0]) for value in values if value.dim()), 1)


# --- which


def find(request: dict, built: Any, shapes: list[list]) -> Axes:
    """What the request wants free, and of an exported program all that is free in it."""
    axes: Axes = [{} for _ in shapes]
    if request["format"] == "exported":
        axes = [own_axes(shape, batch_symbol(shapes)) for shape in shapes]
    if request.get("dynamic_batch"):
        free_batch(request, built, shapes, axes)
    for wanted in request.get("dynamic") or []:
        free_one(request, built, shapes, axes, wanted)
    check_sizes(axes, built.examples)
    return axes


def batch_symbol(shapes: list[list]) -> str | None:
    return next((shape[0] for shape in shapes if shape and isinstance(shape[0], str)), None)


def own_axes(shape: list, batch: str | None) -> dict[int, str]:
    """Of an exported program: by its symbols. What is computed of one is no axis to choose."""
    return {axis: BATCH if size == batch else size for axis, size in enumerate(shape)
            if isinstance(size, str) and size.isidentifier()}


def free_batch(request: dict, built: Any, shapes: list[list], axes: Axes) -> None:
    from pytorch_module import Refused

    batch = batch_of(built.examples)
    if request["format"] == "exported":
        if not any(BATCH in names.values() for names in axes):
            raise Refused("usage", f"the batch of this exported program is fixed at {batch}",
                          "export it with dynamic_shapes, or convert the module's own code")
        return
    for names, shape, value in zip(axes, shapes, built.examples):
        if value.dim() and value.shape[0] == batch and not isinstance(shape[0], int):
            names[0] = BATCH


def free_one(request: dict, built: Any, shapes: list[list], axes: Axes, wanted: dict) -> None:
    from pytorch_module import Refused

    names = [entry["name"] for entry in built.inputs]
    name, axis = wanted["input"], wanted["axis"]
    if name not in names:
        raise Refused("usage", f"the model has no input '{name}'; it has {', '.join(names)}")
    i = names.index(name)
    rank = len(shapes[i])
    if axis >= rank:
        raise Refused("usage", f"input '{name}' has {rank} axes: there is no {axis}",
                      "they are counted from 0")
    if isinstance(shapes[i][axis], int):
        raise Refused("usage", f"axis {axis} of input '{name}' is fixed at {shapes[i][axis]} in "
                               f"this file")
    own = axes[i].get(axis)
    if request["format"] == "exported" and not own:
        raise Refused("usage", f"axis {axis} of input '{name}' follows from others: "
                               f"{shapes[i][axis]}", "name those")
    if request["format"] == "exported":
        rename(axes, own, wanted["name"])
    elif own not in (None, wanted["name"]):
        raise Refused("usage", f"axis {axis} of input '{name}' is given two names, {own} "
                               f"and {wanted['name']}", "--dynamic-batch names axis 0 itself")
    axes[i][axis] = wanted["name"]


def rename(axes: Axes, old: str | None, new: str) -> None:
    for names in axes:
        for axis in [axis for axis, name in names.items() if name == old]:
            names[axis] = new


def check_sizes(axes: Axes, values: tuple) -> None:
    from pytorch_module import Refused

    known: dict[str, int] = {}
    for names, value in zip(axes, values):
        for axis, name in names.items():
            size = value.shape[axis]
            if known.setdefault(name, size) != size:
                raise Refused("usage", f"'{name}' would be {known[name]} in one input and {size} "
                              "in another", "give axes of other sizes other names")


# --- other sizes


def sizes_of(axes: Axes, values: tuple) -> dict[str, int]:
    return {name: int(value.shape[axis]) for names, value in zip(axes, values)
            for axis, name in names.items()}


def resized(axes: Axes, values: tuple, sizes: dict[str, int]) -> tuple:
    """The values with what is in them along those axes repeated or left out."""
    import torch

    made = []
    for names, value in zip(axes, values):
        for axis, name in names.items():
            size = sizes.get(name, value.shape[axis])
            if size != value.shape[axis]:
                value = value.index_select(axis, torch.arange(size) % value.shape[axis])
        made.append(value.contiguous())
    return tuple(made)


def for_export(axes: Axes, values: tuple) -> tuple:
    sizes = sizes_of(axes, values)
    return resized(axes, values, {name: EXPORT_SIZE for name, size in sizes.items() if size == 1})


def other_sizes(axes: Axes, values: tuple) -> list[tuple[str, int]]:
    """What is compared beside the values' own sizes."""
    return [(name, other) for name, size in sizes_of(axes, values).items()
            for other in (OTHER_BATCHES if name == BATCH else (max(1, size // 2), size + 1))
            if other != size]


# --- outputs


def follow(axes: Axes, values: tuple, outputs: list[dict], run: Callable, own: bool) -> Axes:
    """Of each output the axes whose size follows a free one. With own the axes are an exported
    program's, which may allow some sizes only: what fails is not followed then."""
    found: Axes = [{} for _ in outputs]
    before = run(values) if any(axes) else ()
    for name, size in sizes_of(axes, values).items():
        other, after = run_other(axes, values, name, size, run, own)
        for output, names, a, b in zip(outputs, found, before, after):
            for axis in range(min(a.dim(), b.dim())):
                sizes = (a.shape[axis], b.shape[axis])
                if sizes[0] != sizes[1]:
                    is_it = sizes == (size, other) and axis not in names
                    names[axis] = name if is_it else f"{output['name']}_{axis}"
    return found


def run_other(axes: Axes, values: tuple, name: str, size: int, run: Callable,
              own: bool) -> tuple[int, tuple]:
    """With one more, or one less where that is too many: a table of positions ends."""
    from pytorch_module import Refused, first_line

    failure: BaseException | None = None
    for other in (size + 1, size - 1):
        try:
            if other > 0:
                return other, run(resized(axes, values, {name: other}))
        except Exception as error:
            failure = failure or error
    if own:
        return size, ()
    what, hint = f"any size of '{name}'", f"leave out --dynamic for '{name}'"
    if name == BATCH:
        what, hint = "any batch", "convert it without --dynamic-batch"
    raise Refused("unsupported", f"the module does not take {what}: {first_line(failure)}",
                  hint) from failure
