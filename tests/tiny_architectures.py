"""Any architecture of transformers at a small size, built from its own configuration class."""

import inspect
from typing import Any

import torch
import transformers

VOCABULARY = 130
LAYERS = 3
# Whatever of these a configuration knows; the rest of it keeps its defaults.
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size": 32,
    "hidden_size_per_layer_input": 8,
    "d_model": 32,
    "n_embd": 32,
    "embed_dim": 32,
    "word_embed_proj_dim": 32,
    "decoder_ffn_dim": 48,
    "encoder_ffn_dim": 48,
    "intermediate_size": 48,
    "intermediate_size_mlp": 48,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "shared_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 24,
    "ffn_dim": 48,
    "ffn_hidden_size": 48,
    "d_ff": 48,
    "n_inner": 48,
    "num_hidden_layers": LAYERS,
    "num_layers": LAYERS,
    "num_decoder_layers": LAYERS,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
    "n_layers": LAYERS,
    "n_layer": LAYERS,
    "depth": LAYERS,
    "num_attention_heads": 4,
    "num_heads": 4,
    "n_heads": 4,
    "n_head": 4,
    "attention_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "global_head_dim": 8,
    "d_head": 8,
    "d_kv": 8,
    "rotary_dim": 4,
    "kv_channels": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "o_lora_rank": 8,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "attention_hidden_size": 32,
    "lru_width": 32,
    "max_position_embeddings": 256,
    "n_positions": 256,
    "n_ctx": 256,
    "seq_length": 256,
    "sliding_window": 64,
    "state_size": 8,
    "num_mel_bins": 16,
    "image_size": 28,
    "patch_size": 14,
    "out_hidden_size": 32,
    "attention_window": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "block_size": 16,
}
# What a family needs beyond that, because its defaults hang on its full size.
_SECTIONS = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
}
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
SPECIAL: dict[str, dict[str, Any]] = {
    "BambaForCausalLM": {**_MAMBA, "attn_layer_indices": [1]},
    "GraniteMoeHybridForCausalLM": {**_MAMBA, "layer_types": ["mamba", "attention", "mamba"]},
    "Mamba2ForCausalLM": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "Zamba2ForCausalLM": {"layer_types": ["mamba", "hybrid", "mamba"], "hybrid_layer_ids": [1]},
    "GPTNeoForCausalLM": {"num_layers": 2, "attention_types": [[["global", "local"], 1]]},
    "Lfm2MoeForCausalLM": {"layer_types": ["conv", "full_attention", "conv"]},
    "GlmMoeDsaForCausalLM": {
        **{"index_head_dim": 8, "index_n_heads": 4, "num_key_value_heads": 4},
        "mlp_layer_types": ["dense", "sparse", "sparse"],
    },
    # Latent attention has a key of its own for every attention head.
    "DeepseekV2ForCausalLM": {"num_key_value_heads": 4},
    "DeepseekV3ForCausalLM": {"num_key_value_heads": 4},
    "Glm4MoeLiteForCausalLM": {"num_key_value_heads": 4},
    "YoutuForCausalLM": {"num_key_value_heads": 4},
    "Glm4vForConditionalGeneration": {"text_config": _SECTIONS},
    "Qwen2_5_VLForConditionalGeneration": {"text_config": _SECTIONS},
    "Emu3ForConditionalGeneration": {"vocabulary_map": {"<|extra_200|>": 3, "<image>": 4}},
}
PARTS = ("text_config", "vision_config", "audio_config", "encoder", "decoder", "encoder_config")


def tiny_config(architecture: str) -> Any:
    """Make a configuration of three small layers.

    Raises:
        LookupError: transformers has no class of this name.
    """
    model = getattr(transformers, architecture, None)
    if model is None:
        raise LookupError("no class in transformers")
    return _shrink(model.config_class, SPECIAL.get(architecture, {}))


def _shrink(kind: Any, special: dict[str, Any]) -> Any:
    known = set(inspect.signature(kind.__init__).parameters)
    known |= set(getattr(kind, "__dataclass_fields__", {})) | set(kind.attribute_map)
    values = {key: value for key, value in SMALL.items() if key in known}
    for original in set(kind.attribute_map) & set(values):
        if kind.attribute_map[original] in values:
            values.pop(original)
    for part in PARTS:
        sub = getattr(kind, "sub_configs", {}).get(part)
        if sub is None:
            continue
        if sub.__name__ == "AutoConfig":
            sub = type(getattr(kind(), part))
        values[part] = _shrink(sub, special.get(part, {})).to_dict()
    values |= {key: value for key, value in special.items() if key not in PARTS}
    return kind(**values)


def tiny_architecture(architecture: str, seed: int = 0) -> Any:
    """Build a model of random weights, in evaluation mode."""
    config = tiny_config(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = getattr(transformers, architecture)(config)
    return model.eval()
