"""`xgen bench`: what this machine computes fastest, and how fast a shape reads and writes on it."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from xgen.cli.options import Cache, Device, Dtype, Json
from xgen.cli.printing import print_table, print_text
from xgen.errors import XgenError
from xgen.show import note, print_json, progress

if TYPE_CHECKING:
    from torch import device

    from xgen.model.memory import Setting
    from xgen.model.shape import Shape

What = Literal["prefill", "decode"]


def bench(
    what: Annotated[
        What | None,
        typer.Argument(
            show_default=False, help="prefill: reading --context tokens; decode: writing behind so many."
        ),
    ] = None,
    *,
    machine: Annotated[
        bool, typer.Option("--machine", help="Try the types of products anew and say which are used.")
    ] = False,
    shape: Annotated[
        str, typer.Option(metavar="NAME", help="Whose shape the random weights have.")
    ] = "xgen-7b",
    dtype: Dtype = "auto",
    cache: Cache = "auto",
    context: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens that are read.")] = 512,
    tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens that decode writes.")] = 128,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure this machine.

    With prefill or decode: a model of random weights reads or writes, beside the memory's rate and the
    products' as they are measured in the same run, and the share of them that is reached. Nothing is warm:
    the first time, with whatever is compiled in it, is told apart from the median after it, and from the
    time that making the weights took.

    With --machine: the type that a CPU's products are computed in and how many rows pass through 8-bit
    weights, by a trial of half a second, kept in the cache folder and used from then on; and of each GPU
    its type, its free memory, and whether our own kernels compile for it.
    """
    if machine:
        _machine(as_json)
    elif what is None:
        raise XgenError("bench", "nothing to measure is named", "say prefill, decode or --machine")
    else:
        _speed(what, shape, (device, dtype, cache), context, tokens, as_json)


def _speed(
    what: What, name: str, kinds: tuple[str, str, str], context: int, tokens: int, as_json: bool
) -> None:
    import torch

    from xgen.bundle.loading import place_and_types
    from xgen.engine.free import NAMES, require_cache, require_weights
    from xgen.engine.free import told as memory_told
    from xgen.engine.measure import MEASURED, ceilings, measured_decode, measured_prefill, random_model
    from xgen.model.memory import Setting
    from xgen.model.shape import SHAPES

    if name not in SHAPES:
        raise XgenError(f"shape {name!r}", "it is not known", "use " + ", ".join(SHAPES))
    shape = SHAPES[name]
    n_kept = context + (tokens if what == "decode" else 0) + 1
    place, choice, cache_dtype = place_and_types(*kinds, n_kept)
    weights = "int8" if choice.int8_only else NAMES[choice.dtype]
    setting = Setting(weights, NAMES[cache_dtype], NAMES[choice.dtype])
    if context > shape.max_seq_len:
        window = f"{name}'s window is {shape.max_seq_len:,} tokens"
        raise XgenError(f"--context {context}", window, f"read at most {shape.max_seq_len}")
    require_weights(name, shape, setting, place)
    require_cache(shape, setting, n_kept, place, loaded=False)
    note(memory_told(name, shape, setting, n_kept, place))
    int8_rows = _rows_of_copies(what, shape, setting, choice.int8_rows, n_kept, place)
    started = time.perf_counter()
    model = random_model(shape, place, choice.dtype, choice.int8_only, int8_rows)
    load_s = time.perf_counter() - started
    n_done = context if what == "prefill" else tokens
    with progress(what, MEASURED, "times", quiet=as_json) as advance:
        if what == "prefill":
            found = measured_prefill(model, context, cache_dtype, advance)
        else:
            found = measured_decode(model, context, tokens, cache_dtype, advance)
    peak = torch.cuda.max_memory_allocated(place) if place.type == "cuda" else None
    del model
    through = replace(setting, weights="int8") if int8_rows else setting
    ceiling = ceilings(shape, context, place, choice.dtype)
    told = {
        "what": what,
        "shape": name,
        "weights": setting.weights,
        "tokens_pass_through": through.weights,
        "cache": setting.cache,
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "context": context,
        "load_s": load_s,
        **found,
        "tokens_per_s": n_done / found["s"],
        "copy_bytes_per_s": ceiling.copy,
        "product_flops_per_s": ceiling.product,
        "attention_flops_per_s": ceiling.attention,
        "share": _least_s(what, shape, context, tokens, through, ceiling) / found["s"],
        "peak_bytes": peak,
    }
    _print(told, as_json)


def _rows_of_copies(
    what: What, shape: "Shape", setting: "Setting", rows: int, n_kept: int, place: "device"
) -> int:
    """How many rows pass through 8-bit copies, which a model has on some CPUs, if both find room here."""
    from xgen.engine.free import free_bytes
    from xgen.model.memory import needed, weight_bytes

    if what == "prefill" or setting.weights == "int8":
        return 0
    free, both = free_bytes(place), needed(shape, setting, n_kept).total
    both += weight_bytes(shape, replace(setting, weights="int8"))
    if rows and free is not None and both > free:
        note("8-bit copies, through which tokens would pass here, find no room beside: measured without")
        return 0
    return rows


def _least_s(
    what: What, shape: "Shape", context: int, tokens: int, setting: "Setting", ceiling: Any
) -> float:
    """The least seconds that the ceilings allow."""
    from xgen.engine.measure import decode_s, prefill_s

    if what == "prefill":
        return prefill_s(shape, context, ceiling)
    return tokens * decode_s(shape, context + tokens // 2, setting, ceiling)


def _print(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    through = told["tokens_pass_through"]
    kind = told["weights"] + (f" (tokens through {through})" if through != told["weights"] else "")
    print_text(f"{told['what']} of {told['shape']} in {kind}, {told['cache']} cache, on {told['device']}")
    rows = [
        ["tokens a second", f"{told['tokens_per_s']:,.1f}"],
        ["share of what the machine allows", f"{told['share']:.1%}"],
        ["first time, s", f"{told['first_s']:.2f}"],
        ["making the weights, s", f"{told['load_s']:.2f}"],
        ["copy, GB/s", f"{told['copy_bytes_per_s'] / 1e9:,.0f}"],
        ["products, TFLOP/s", f"{told['product_flops_per_s'] / 1e12:,.2f}"],
        ["attention, TFLOP/s", f"{told['attention_flops_per_s'] / 1e12:,.2f}"],
    ]
    if told["peak_bytes"] is not None:
        rows.append(["most memory, GB", f"{told['peak_bytes'] / 1e9:.2f}"])
    print_table(["", ""], rows)


def _machine(as_json: bool) -> None:
    import torch

    from xgen.engine.gpus import gpus
    from xgen.engine.machine import choice_for, processor

    found = gpus()
    choice = choice_for(torch.device("cpu"), anew=True)
    dtype = str(choice.dtype).removeprefix("torch.")
    trials = {name.replace("torch.", ""): seconds for name, seconds in choice.seconds.items()}
    threads = torch.get_num_threads()
    if as_json:
        facts = {"processor": processor(), "threads": threads, "dtype": dtype}
        facts |= {"int8_rows": choice.int8_rows, "int4": choice.int4, "trial_s": trials}
        print_json(facts | {"gpus": [vars(gpu) for gpu in found]})
        return
    print_text(f"{processor()}, {threads} threads")
    rows = f"up to {choice.int8_rows} at once pass through 8-bit weights" if choice.int8_rows else "no 8 bit"
    rows += ", or layers of 4-bit ones" if choice.int4 else ""
    print_text(f"products in {dtype}; tokens: {rows}")
    print_table(["trial", "ms"], [[name, f"{1000 * seconds:.2f}"] for name, seconds in trials.items()])
    for index, gpu in enumerate(found):
        free = f"{gpu.free_bytes / 1e9:.1f} of {gpu.total_bytes / 1e9:.1f} GB free"
        kernels = f"torch's kernels alone: {gpu.no_kernels}" if gpu.no_kernels else "kernels of our own"
        print_text(f"cuda:{index}: {gpu.name}, {gpu.dtype}, {free}, {kernels}")
