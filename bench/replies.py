"""A base's own replies to ordinary requests, to replay while it learns something else.

    python bench/replies.py --model qwen-0.5b --out recipes/questions/replies.jsonl

Training on what a model says anyway keeps it saying it (self-distillation). The requests, requests.jsonl, are
our own, made of templates and topics in nine languages, each with a system text that it is put under. Each is
asked once a seed, drawn at temperature 0.7 from the likeliest 90%; what the model did not end itself is
left out and counted. By `transformers`, in batches: minutes on a GPU, hours on a CPU.

Writes conversations for a corpus (src/xgen/data/chats.py): {"id", "lang", "messages"}.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xgen.files import model_folder, write_whole

REQUESTS = Path(__file__).with_name("requests.jsonl")
AT_ONCE = 128
MOST_TOKENS = 400


def conversations(
    requests: Sequence[dict[str, str]], model: Any, tokenizer: Any, ends: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Each request with its reply; those whose reply has no end by MOST_TOKENS are not among them."""
    ordered = sorted(requests, key=lambda request: len(request["user"]))
    for begin in range(0, len(ordered), AT_ONCE):
        some = ordered[begin : begin + AT_ONCE]
        asked = [
            [{"role": role, "content": request[role]} for role in ("system", "user")] for request in some
        ]
        prompts = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        said = model.generate(
            **batch.to(model.device),
            max_new_tokens=MOST_TOKENS,
            do_sample=True,
            temperature=0.7,
            top_p=0.9,
            top_k=0,
            eos_token_id=list(ends),
            pad_token_id=tokenizer.pad_token_id,
        )
        for request, turns, ids in zip(
            some, asked, said[:, batch.input_ids.shape[1] :].tolist(), strict=True
        ):
            stop = next((i for i, token in enumerate(ids) if token in ends), 0)
            reply = tokenizer.decode(ids[:stop], skip_special_tokens=True).strip()
            if reply:
                messages = [*turns, {"role": "assistant", "content": reply}]
                yield {"id": request["id"], "lang": request["lang"], "messages": messages}


def main(arguments: Sequence[str]) -> None:
    """See the module's words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="qwen-0.5b", metavar="NAME")
    parser.add_argument("--requests", type=Path, default=REQUESTS, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how often each is asked")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_folder(options.model)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    ends = ends if isinstance(ends, list) else [ends]
    tokenizer.pad_token_id = ends[-1]
    requests = [json.loads(line) for line in options.requests.read_text("utf-8").splitlines()]
    lines: list[str] = []
    for seed in range(1, options.seeds + 1):
        torch.manual_seed(seed)
        with torch.inference_mode():
            for found in conversations(requests, model, tokenizer, ends):
                lines.append(json.dumps(found | {"id": f"{found['id']}-{seed}"}, ensure_ascii=False))
    write_whole(options.out, ("\n".join(lines) + "\n").encode())
    asked = len(requests) * options.seeds
    print(f"{len(lines)} replies of {asked}; {asked - len(lines)} had no end by {MOST_TOKENS} tokens")


if __name__ == "__main__":
    main(sys.argv[1:])
