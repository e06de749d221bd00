// Table of contents of the device code: parameter structs and one function per kernel and device.
// Pointers are device memory. [a, b] is row-major; "[H, ldx]" has ldx >= the batch with zero columns behind it.
#pragma once

#include <cstdint>

#include "scalar.h"
#include "sparsexmc/config.h"
#include "sparsexmc/context.h"

namespace sparsexmc::kernels {

/// Devices as types: every kernel is an overload on one of these (see visit_device in src/visit_device.h).
struct Cpu {};
struct Cuda {};

/// Columns of every transposed matrix are padded to a multiple of this, so that all instruction sets see whole vectors.
inline constexpr int64_t column_padding = 16;
/// Columns handled together by the step; fixes the order of the sums over the batch.
inline constexpr int64_t strip_columns = 256;

/// One optimizer update, with everything that depends on the step number worked out.
struct OptimizerStep {
  OptimizerKind kind = OptimizerKind::sgd;
  float lr = 0;
  float weight_decay = 0;
  float momentum = 0;                      // sgd
  float beta1 = 0, beta2 = 0, eps = 0;     // adam
  float correction1 = 1, correction2 = 1;  // adam: 1 / (1 - beta^t), 1 / sqrt(1 - beta2^t)
};

/// Parameters of a segment: groups of `group_size` rows that share `fan_in` input features.
struct Segment {
  float* weights = nullptr;     // [groups, fan_in, group_size]
  float* bias = nullptr;        // [groups * group_size]
  void* indices = nullptr;      // [groups, fan_in] ascending, unique; null: feature f is input f (dense)
  bool wide_indices = false;    // uint32 instead of uint16
  float* weight_state[2] = {};  // momentum, or first and second moment; laid out as weights
  float* bias_state[2] = {};
  int64_t rows = 0;  // labels; rows [rows, groups * group_size) are padding
  int64_t groups = 0;
  int64_t group_size = 1;
  int64_t fan_in = 0;
  int64_t in_features = 0;  // H
};

/// One positive of the batch; lists are sorted by (row, column) and unique.
struct Positive {
  uint32_t row;     // internal row within its segment
  uint32_t column;  // instance
};

/// The fused step over one segment (DESIGN: fused step): logits, loss, both gradients and the update, group by group.
/// The groups are cut into `parts` ranges by sizes alone. Each part sums its share of dX from zero (or onto what an
/// earlier segment left), so results do not depend on the number of threads.
struct FanInStep {
  float* dx_parts = nullptr;     // [parts, H, ldx]
  double* loss_parts = nullptr;  // [parts], added to
  Segment segment;               // updated
  float* scratch = nullptr;      // [threads, fan_in_step_scratch()]
  const float* xt = nullptr;     // [H, ldx]
  const Positive* positives = nullptr;
  int64_t num_positives = 0;
  int64_t batch = 0;
  int64_t ldx = 0;
  int64_t parts = 1;
  int64_t label_tile = 0;  // rows handled together where a kernel tiles labels; 0: its own choice
  bool zero_dx = true;     // first segment of the step
  Loss loss = Loss::bce;
  OptimizerStep optimizer;
};

/// floats of scratch per worker for any step with these sizes.
int64_t fan_in_step_scratch(Cpu, int64_t group_size, int64_t fan_in, int64_t in_features);
void fan_in_step(Cpu, Context& context, const FanInStep& p);

/// dx[h, b] = sum over parts, in order, into part 0.
struct ReduceParts {
  float* parts_data = nullptr;  // [parts, H, ldx]
  int64_t parts = 1, rows = 0, ldx = 0;
};
void reduce_parts(Cpu, Context& context, const ReduceParts& p);

/// Transposes embeddings [batch, H] of any float dtype to fp32 [H, ldx], zeroing the padding columns.
/// Sets *nonfinite when an element is NaN or Inf.
struct GatherColumns {
  float* xt = nullptr;
  bool* nonfinite = nullptr;
  const void* x = nullptr;
  DType dtype = DType::float32;
  int64_t batch = 0, features = 0, ldx = 0;
};
void gather_columns(Cpu, Context& context, const GatherColumns& p);

/// The way back: fp32 [H, ldx] to [batch, H] of the dtype asked for, rounded to nearest even.
struct ScatterColumns {
  void* x = nullptr;
  const float* xt = nullptr;
  DType dtype = DType::float32;
  int64_t batch = 0, features = 0, ldx = 0;
};
void scatter_columns(Cpu, Context& context, const ScatterColumns& p);

/// Fused top-k over one segment: candidates go into one list per (worker, instance).
/// Order: score falling, then user label id rising; a strict order, so the result does not depend on the workers.
struct Candidate {
  float score;
  uint32_t label;  // user id
};
struct TopK {
  Candidate* lists = nullptr;        // [workers, batch, k]; unused places hold score -inf, label UINT32_MAX
  Segment segment;                   // read
  float* scratch = nullptr;          // [workers, topk_scratch()]
  const float* xt = nullptr;         // [H, ldx]
  const uint32_t* labels = nullptr;  // user id of each row of the segment
  int64_t batch = 0, ldx = 0, k = 0;
};
int64_t topk_scratch(Cpu, int64_t group_size, int64_t ldx);
void topk(Cpu, Context& context, const TopK& p);

/// Merges the workers' lists into sorted scores and ids [batch, k].
struct TopKMerge {
  float* scores = nullptr;
  int64_t* ids = nullptr;
  Candidate* lists = nullptr;
  int64_t workers = 1, batch = 0, k = 0;
};
void topk_merge(Cpu, Context& context, const TopKMerge& p);

/// Dense hidden layer: ht[u, b] = dropout(relu(bias[u] + sum_d weight[d, u] xt[d, b])).
struct HiddenForward {
  float* ht = nullptr;            // [units, ldx], padding columns zero
  const float* weight = nullptr;  // [features, units]
  const float* bias = nullptr;
  const float* xt = nullptr;  // [features, ldx]
  int64_t batch = 0, ldx = 0, features = 0, units = 0;
  float dropout = 0;  // 0 at prediction
  uint64_t seed = 0, step = 0;
};
void hidden_forward(Cpu, Context& context, const HiddenForward& p);

/// Its backward and update in one pass over the features. Takes dht (gradient at ht) and overwrites it by the gradient
/// before ReLU and dropout; an active, kept unit is one with ht > 0.
struct HiddenBackward {
  float* dxt = nullptr;     // [features, ldx], or null when nobody asks for it
  float* dht = nullptr;     // [units, ldx], overwritten
  float* weight = nullptr;  // updated
  float* bias = nullptr;    // updated
  float* weight_state[2] = {};
  float* bias_state[2] = {};
  float* scratch = nullptr;  // hidden_backward_scratch(): dht transposed, then [threads] gradient tiles
  const float* ht = nullptr;
  const float* xt = nullptr;
  int64_t batch = 0, ldx = 0, features = 0, units = 0;
  float dropout = 0;
  OptimizerStep optimizer;
};
/// floats in total.
int64_t hidden_backward_scratch(Cpu, int64_t units, int64_t ldx, int64_t threads);
void hidden_backward(Cpu, Context& context, const HiddenBackward& p);

/// The hidden layer over sparse rows. Nonzeros in row order, checked by the caller; columns int32.
struct SparseHiddenForward {
  float* ht = nullptr;
  float* rows_scratch = nullptr;  // [ldx, round_up(units, column_padding)]
  const float* weight = nullptr;  // [features, units]
  const float* bias = nullptr;
  const int64_t* indptr = nullptr;  // [batch + 1]
  const int32_t* columns = nullptr;
  const float* values = nullptr;
  int64_t batch = 0, ldx = 0, units = 0;
  float dropout = 0;
  uint64_t seed = 0, step = 0;
};
void sparse_hidden_forward(Cpu, Context& context, const SparseHiddenForward& p);

/// Backward and update of the touched feature rows only. Nonzeros sorted by (feature, instance).
struct SparseEntry {
  uint32_t feature;
  uint32_t instance;
  float value;
};
struct SparseHiddenBackward {
  float* dht = nullptr;           // [units, ldx], overwritten by the gradient before ReLU and dropout
  float* rows_scratch = nullptr;  // [ldx, round_up(units, column_padding)]
  float* weight = nullptr;
  float* bias = nullptr;
  float* weight_state[2] = {};
  float* bias_state[2] = {};
  const float* ht = nullptr;
  const SparseEntry* entries = nullptr;
  const int64_t* runs = nullptr;  // [num_runs + 1] offsets into entries, one run per distinct feature
  int64_t num_runs = 0;
  int64_t batch = 0, ldx = 0, units = 0;
  float dropout = 0;
  OptimizerStep optimizer;
};
void sparse_hidden_backward(Cpu, Context& context, const SparseHiddenBackward& p);

/// Uniform weights in [-bound, bound) from Philox keyed by (seed, purpose, segment, row, slot), and unique ascending
/// random indices. Padding rows get zeros; optimizer state is left alone.
struct InitSegment {
  Segment segment;
  float bound = 0, bias = 0;
  uint64_t seed = 0;
  uint32_t segment_number = 0;
};
void init_segment(Cpu, Context& context, const InitSegment& p);

/// Uniform hidden weights in [-bound, bound) from Philox keyed by (seed, purpose, 0, feature, unit); biases zero.
struct InitHidden {
  float* weight = nullptr;  // [features, units]
  float* bias = nullptr;    // [units]
  int64_t features = 0, units = 0;
  float bound = 0;
  uint64_t seed = 0;
};
void init_hidden(Cpu, Context& context, const InitHidden& p);

/// One rewiring of a segment. Scores are recomputed in every pass instead of stored (never groups x fan_in).
/// rigl: the inputs and positives of the last batches (one at least), from which the dense gradient is rebuilt group by
/// group.
struct KeptBatch {
  const float* xt = nullptr;            // [H, ldx]
  const Positive* positives = nullptr;  // of this segment
  int64_t num_positives = 0;
  int64_t batch = 0;
};
struct RewireStep {
  int64_t* changed = nullptr;  // outputs, host scalars
  double* score_dropped = nullptr;
  double* score_grown = nullptr;
  Segment segment;                  // updated
  void* scratch = nullptr;          // rewire_scratch() bytes
  const KeptBatch* kept = nullptr;  // [num_kept]
  int64_t num_kept = 0, ldx = 0;
  RewiringMethod method = RewiringMethod::set;
  RewiringScope scope = RewiringScope::layer;
  Loss loss = Loss::bce;
  double fraction = 0;
  uint64_t seed = 0, step = 0;
  uint32_t segment_number = 0;
};
int64_t rewire_scratch(Cpu, const Segment& segment, int64_t ldx, int64_t kept, int64_t threads);
void rewire_step(Cpu, Context& context, const RewireStep& p);

}  // namespace sparsexmc::kernels
