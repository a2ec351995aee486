"""Makes golden/published: a tiny model as transformers 4.29.2, XGen's own version, saved it, with logits.

    pip install --no-deps --target OLD transformers==4.29.2 tokenizers==0.13.3 huggingface_hub==0.14.1
    PYTHONPATH=OLD python tests/golden/make_published.py

That version still writes pickled shards, and with them each layer's rotary frequencies.
"""

import json
from pathlib import Path

import torch
import transformers

FOLDER = Path(__file__).parent / "published"
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 63, 0]

if __name__ == "__main__":
    assert transformers.__version__ == "4.29.2"
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=50256,
        eos_token_id=50256,
        pad_token_id=0,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(mean=1.0 if p.ndim == 1 else 0.0, std=0.3)
        logits = model(torch.tensor([IDS])).logits[0]
    model.save_pretrained(FOLDER, max_shard_size="10KB")
    # as first published: LLaMA's ids
    generation = {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    (FOLDER / "generation_config.json").write_text(
        json.dumps(generation | {"transformers_version": "4.29.2"}, indent=2) + "\n"
    )
    said = {"ids": IDS, "transformers": "4.29.2", "torch": torch.__version__, "logits": logits.tolist()}
    (FOLDER / "logits.json").write_text(json.dumps(said) + "\n")
