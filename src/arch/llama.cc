// Llama 1-3 and everything that copies it (SmolLM2, TinyLlama, stories260K): grouped-query
// attention, rotary positions, RMSNorm before each half, SwiGLU, tied or untied head.
#include "arch/arch_table.h"

namespace onebit::arch {
namespace {

constexpr TensorSpec kTensors[] = {
    {Role::kTokenEmbedding, "token_embd", "token_embd", "model.embed_tokens", Dim::kVocab,
     Dim::kModel, false, false},
    {Role::kAttnNorm, "attn_norm", "blk.{}.attn_norm", "model.layers.{}.input_layernorm",
     Dim::kModel, Dim::kNone, false, true},
    {Role::kAttnQ, "attn_q", "blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", Dim::kQuery,
     Dim::kModel, true, true, Role::kAttnNorm},
    {Role::kAttnK, "attn_k", "blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", Dim::kKeyValue,
     Dim::kModel, true, true, Role::kAttnNorm},
    {Role::kAttnV, "attn_v", "blk.{}.attn_v", "model.layers.{}.self_attn.v_proj", Dim::kKeyValue,
     Dim::kModel, true, true, Role::kAttnNorm},
    {Role::kAttnOut, "attn_output", "blk.{}.attn_output", "model.layers.{}.self_attn.o_proj",
     Dim::kModel, Dim::kQuery, true, true, Role::kAttnV},
    {Role::kFfnNorm, "ffn_norm", "blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm",
     Dim::kModel, Dim::kNone, false, true},
    {Role::kFfnGate, "ffn_gate", "blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj", Dim::kFfn,
     Dim::kModel, true, true, Role::kFfnNorm},
    {Role::kFfnUp, "ffn_up", "blk.{}.ffn_up", "model.layers.{}.mlp.up_proj", Dim::kFfn, Dim::kModel,
     true, true, Role::kFfnNorm},
    {Role::kFfnDown, "ffn_down", "blk.{}.ffn_down", "model.layers.{}.mlp.down_proj", Dim::kModel,
     Dim::kFfn, true, true, Role::kFfnUp},
    {Role::kOutputNorm, "output_norm", "output_norm", "model.norm", Dim::kModel, Dim::kNone, false,
     false},
    {Role::kOutput, "output", "output", "lm_head", Dim::kVocab, Dim::kModel, false, false},
};

}  // namespace

const ArchSpec k_llama = {
    .name = "llama",
    .gguf_name = "llama",
    .hf_model_type = "llama",
    .hf_architecture = "LlamaForCausalLM",
    .tensors = kTensors,
    .gguf_rope = RopePairs::kNeighbours,
};

}  // namespace onebit::arch
