# SPDX-License-Identifier: GPL-3.0-or-later
"""Write small files in the released layout, and a HuBERT as wide. Usage: make_released_files.py FOLDER"""

import sys
from pathlib import Path

import torch
from transformers import HubertConfig, HubertModel

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.released_files import HEARD, Released

folder = Path(sys.argv[1])
(folder / "released").mkdir()
Released(folder / "released").write()
torch.manual_seed(0)
sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "conv_dim": [16] * 7}
HubertModel(HubertConfig(hidden_size=HEARD, num_conv_pos_embeddings=16, **sizes)).save_pretrained(
    folder / "hubert"
)
