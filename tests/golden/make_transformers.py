"""Make transformers_<model>.json: how transformers goes on from our prompts, greedily.

    python tests/golden/make_transformers.py FOLDER OUT.json

FOLDER is what `xgen pull` made. Needs torch and transformers, none of xgen. Everything is computed in
fp32; no end of text is heeded, so every prompt has equally many new ids. `margins` are the distances
between the best and the second logit: where one is small, another order of additions may rightly choose
otherwise.
"""

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers
from prompts import PROMPTS

NEW_TOKENS = 16


@torch.inference_mode()
def main():
    folder, out = map(Path, sys.argv[1:])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    replies = []
    for prompt in PROMPTS:
        given = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        ids, margins, cache, step = [], [], None, given
        for _ in range(NEW_TOKENS):
            output = model(step, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            best = output.logits[0, -1].topk(2)
            ids.append(int(best.indices[0]))
            margins.append(round(float(best.values[0] - best.values[1]), 3))
            step = best.indices[None, :1]
        text = tokenizer.decode(ids)
        replies.append(
            {"prompt": prompt, "prompt_ids": given[0].tolist(), "ids": ids, "margins": margins, "text": text}
        )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    golden = {
        "made_by": f"python tests/golden/make_transformers.py {folder.name} {out.name}",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {platform.system()}, CPU, fp32",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
    }
    head = json.dumps(golden, ensure_ascii=False, indent=1)[:-2]
    body = ",\n".join(json.dumps(reply, ensure_ascii=False) for reply in replies)
    out.write_text(f'{head},\n "replies": [\n{body}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
