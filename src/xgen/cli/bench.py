"""`xgen bench`: what this machine computes fastest."""

from typing import Annotated

import typer

from xgen.cli.options import Json
from xgen.cli.printing import print_table, print_text
from xgen.errors import XgenError
from xgen.show import print_json


def bench(
    *,
    machine: Annotated[
        bool, typer.Option("--machine", help="Try the types of products anew and say which are used.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure this machine.

    With --machine: the type that products are computed in and how many rows pass through 8-bit weights,
    by a trial of half a second, kept in the cache folder and used from then on.
    """
    if not machine:
        raise XgenError("bench", "nothing to measure is named", "add --machine")
    import torch

    from xgen.engine.machine import choice_for, processor

    choice = choice_for(torch.device("cpu"), anew=True)
    dtype = str(choice.dtype).removeprefix("torch.")
    trials = {name.replace("torch.", ""): seconds for name, seconds in choice.seconds.items()}
    threads = torch.get_num_threads()
    if as_json:
        facts = {"processor": processor(), "threads": threads, "dtype": dtype}
        print_json({**facts, "int8_rows": choice.int8_rows, "trial_s": trials})
        return
    print_text(f"{processor()}, {threads} threads")
    rows = f"up to {choice.int8_rows} at once pass through 8-bit weights" if choice.int8_rows else "no 8 bit"
    print_text(f"products in {dtype}; tokens: {rows}")
    print_table(["trial", "ms"], [[name, f"{1000 * seconds:.2f}"] for name, seconds in trials.items()])
