// Table of contents of the device code: parameter structs and one function per kernel and device.
// Pointers are device memory. [a, b] is row-major; "[H, ldx]" has ldx >= the batch with zero columns after it.
// Products read bf16 or fp32 ("compute" below); sums are fp32 everywhere. On the CPU the matrices of a
// batch are fp32 whatever `compute` says: its fused step rounds them as it packs them, and everything else there is
// fp32. Where a struct has `skip`, a kernel on a GPU does nothing when *skip is not 0: the batch held NaN or Inf, and
// the host does not wait to learn of it. The CPU's host logic looks before it goes on and passes null.
#pragma once

#include <cstdint>

#include "integers.h"
#include "runtime.h"
#include "segment.h"
#include "sparsexmc/config.h"
#include "sparsexmc/context.h"

namespace sparsexmc::kernels {

/// Row stride of the transposed matrices of a batch, "ldx" below; never decreases when the batch grows.
int64_t leading_dimension(Cpu, int64_t batch);
int64_t leading_dimension(Cuda, int64_t batch);

/// The fused step over one segment (DESIGN: fused step): logits, loss, both gradients and the update, group by group.
/// The groups are cut into `parts` ranges by sizes alone. Each part sums its share of dX from zero (or onto what an
/// earlier segment left), so results do not depend on the number of threads.
struct FanInStep {
  float* dx_parts = nullptr;     // [parts, H, ldx]
  double* loss_parts = nullptr;  // [StepSizes::losses], added to, or set if zero_loss
  Segment segment;               // updated
  void* scratch = nullptr;       // StepSizes::scratch_bytes
  const void* xt = nullptr;      // [H, ldx] of `compute`
  DType compute = DType::float32;
  const Positive* positives = nullptr;
  int64_t num_positives = 0;
  const float* instance_weights = nullptr;  // [ldx]: factor >= 0 on the loss of an instance, 0 after them; null: 1
  const float* normaliser = nullptr;        // [4, ldx] of FinishNormaliser, which has the weights; null: not needed
  int64_t batch = 0;
  int64_t ldx = 0;
  int64_t parts = 1;
  int64_t label_tile = 0;  // rows handled together where a kernel tiles labels; 0: its own choice
  bool zero_dx = true;     // first segment of the step
  bool zero_loss = true;   // first segment whose loss goes into loss_parts
  Loss loss = Loss::bce;
  float loss_scale = 1.0f;   // factor on the gradients of the loss, not on what loss_parts report
  float logit_scale = 1.0f;  // of a normalised loss: its logits are z times this
  bool update = true;        // false: only the loss and dX are made, and the segment is only read
  OptimizerStep optimizer;
  int64_t first_row = 0;        // of the segment in the internal order; with seed and step it keys the rounding
  uint64_t seed = 0, step = 0;  // of bf16 weights
  const uint32_t* skip = nullptr;
};

/// Room that any step of at most `batch` instances needs over these segments, which share parts and scratch.
struct StepSizes {
  int64_t parts = 1;      // FanInStep::parts on the CPU, where it depends on sizes alone; a GPU cuts by the batch
  int64_t dx_floats = 0;  // of dx_parts
  int64_t losses = 1;
  int64_t scratch_bytes = 0;
};
StepSizes step_sizes(Cpu, const Machine& machine, const Segment* segments, int64_t num_segments, int64_t batch,
                     DType compute);
StepSizes step_sizes(Cuda, const Machine& machine, const Segment* segments, int64_t num_segments, int64_t batch,
                     DType compute);
void fan_in_step(Cpu, Context& context, const FanInStep& p);
void fan_in_step(Cuda, Context& context, const FanInStep& p);

/// Pass 1 of a normalised loss over one segment: statistics of every instance over the labels of a part, from logits
/// that are made tile by tile and forgotten. Parts are those of the step, by sizes alone.
struct Normalise {
  float* statistics = nullptr;  // [NormaliseSizes::parts, 4, ldx]: maximum of the scaled logits, sum of exp(logit -
                                // maximum), number of positives, sum of their weights; added to unless `first`
  Segment segment;              // read
  void* scratch = nullptr;      // NormaliseSizes::scratch_bytes
  const void* xt = nullptr;     // [H, ldx] of `compute`
  DType compute = DType::float32;
  const Positive* positives = nullptr;
  int64_t num_positives = 0;
  int64_t batch = 0;
  int64_t ldx = 0;
  int64_t parts = 1;  // NormaliseSizes::parts on the CPU; a GPU cuts by the batch
  float logit_scale = 1.0f;
  bool first = true;  // segment of the pass
};
struct NormaliseSizes {
  int64_t parts = 1;
  int64_t scratch_bytes = 0;
};
NormaliseSizes normalise_sizes(Cpu, const Machine& machine, const Segment* segments, int64_t num_segments,
                               int64_t batch, DType compute);
NormaliseSizes normalise_sizes(Cuda, const Machine& machine, const Segment* segments, int64_t num_segments,
                               int64_t batch, DType compute);
void normalise(Cpu, Context& context, const Normalise& p);
void normalise(Cuda, Context& context, const Normalise& p);

/// Merges the statistics of the parts, in order, and makes of them what the step needs of every instance; columns after
/// the batch become zero.
struct FinishNormaliser {
  float* normaliser = nullptr;  // [4, ldx]: maximum, share, target, uniform: see losses::InstanceNormaliser
  double* loss = nullptr;       // sum over the instances of weight * (log of the sum, and z-loss); null: nobody asks
  const float* statistics = nullptr;        // [parts, 4, ldx]
  const float* instance_weights = nullptr;  // [ldx]; null: 1
  int64_t batch = 0, ldx = 0, parts = 1;
  double label_smoothing = 0, z_loss = 0;
  int64_t labels = 1;
};
void finish_normaliser(Cpu, Context& context, const FinishNormaliser& p);
void finish_normaliser(Cuda, Context& context, const FinishNormaliser& p);

/// dx[h, b] = sum over parts, in order, into part 0; *loss = the sum of its parts, in order.
struct ReduceParts {
  float* dx_parts = nullptr;  // [parts, H, ldx]
  double* loss = nullptr;
  const double* loss_parts = nullptr;
  const double* loss_offset = nullptr;  // FinishNormaliser::loss, added to the first sum; null: 0
  double* auxiliary_loss = nullptr;     // the same for a second loss; null: there is none
  const double* auxiliary_parts = nullptr;
  int64_t in_features = 0, batch = 0, ldx = 0;
  int64_t parts = 1;  // as FanInStep
  DType compute = DType::float32;
  const uint32_t* skip = nullptr;
};
void reduce_parts(Cpu, Context& context, const ReduceParts& p);
void reduce_parts(Cuda, Context& context, const ReduceParts& p);

/// Transposes embeddings [batch, H] of any float dtype, times `scale`, to [H, ldx] of `compute`, zeroing the padding
/// columns. Sets *nonfinite to 1 when an element is NaN or Inf afterwards; never clears it.
struct GatherColumns {
  void* xt = nullptr;
  uint32_t* nonfinite = nullptr;
  const void* x = nullptr;
  DType dtype = DType::float32;
  int64_t batch = 0, features = 0, ldx = 0;
  DType compute = DType::float32;
  float scale = 1.0f;
};
void gather_columns(Cpu, Context& context, const GatherColumns& p);
void gather_columns(Cuda, Context& context, const GatherColumns& p);

/// The way back: fp32 [H, ldx], times `scale`, to [batch, H] of the dtype asked for, rounded to nearest even. Skipped:
/// zeros.
struct ScatterColumns {
  void* x = nullptr;
  const float* xt = nullptr;
  DType dtype = DType::float32;
  int64_t batch = 0, features = 0, ldx = 0;
  const uint32_t* skip = nullptr;
  float scale = 1.0f;
};
void scatter_columns(Cpu, Context& context, const ScatterColumns& p);
void scatter_columns(Cuda, Context& context, const ScatterColumns& p);

/// Fused top-k over one segment: candidates go into one list per (worker, instance).
/// Order: score descending, then user label id ascending; a strict order, so the result does not depend on the workers.
struct Candidate {
  float score;
  uint32_t label;  // user id
};
struct TopK {
  Candidate* lists = nullptr;  // [TopKSizes::lists, batch, k]; unused places hold score -inf, label UINT32_MAX
  Segment segment;             // read
  void* scratch = nullptr;     // TopKSizes::scratch_bytes
  const void* xt = nullptr;    // [H, ldx] of `compute`
  DType compute = DType::float32;
  const uint32_t* labels = nullptr;  // user id of each row of the segment
  int64_t batch = 0, ldx = 0, k = 0;
  bool first = true;  // first segment: empties the lists before use
};
struct TopKSizes {
  int64_t lists = 1;
  int64_t scratch_bytes = 0;
};
TopKSizes topk_sizes(Cpu, const Machine& machine, const Segment* segments, int64_t num_segments, int64_t batch);
TopKSizes topk_sizes(Cuda, const Machine& machine, const Segment* segments, int64_t num_segments, int64_t batch);
void topk(Cpu, Context& context, const TopK& p);
void topk(Cuda, Context& context, const TopK& p);

/// The largest products of a batch with many rows of bytes, in groups that are laid out as those of a dense segment.
/// Candidates go into lists as with TopK, with the number of a row in place of a label. CPU only.
inline constexpr int64_t byte_row_group = 32;
struct NearestRows {
  Candidate* lists = nullptr;     // [workers, batch, k]
  const int8_t* rows = nullptr;   // [ceil(count / byte_row_group), features, byte_row_group]
  const float* scales = nullptr;  // [count] factor on the products of each row
  float* scratch = nullptr;       // nearest_rows_scratch floats
  const float* xt = nullptr;      // [features, ldx]
  int64_t count = 0, features = 0, batch = 0, ldx = 0, k = 0;
};
int64_t nearest_rows_scratch(Cpu, int64_t workers, int64_t batch, int64_t features);  ///< floats
void nearest_rows(Cpu, Context& context, const NearestRows& p);

/// Merges an instance's lists into sorted scores and ids [batch, k].
struct TopKMerge {
  float* scores = nullptr;
  int64_t* ids = nullptr;
  Candidate* lists = nullptr;  // overwritten
  int64_t num_lists = 1;       // TopKSizes::lists; a GPU works out the number from the batch
  int64_t batch = 0, k = 0;
};
void topk_merge(Cpu, Context& context, const TopKMerge& p);
void topk_merge(Cuda, Context& context, const TopKMerge& p);

/// Dense hidden layer: ht[u, b] = dropout(relu(bias[u] + sum_d weight[d, u] xt[d, b])).
struct HiddenForward {
  void* ht = nullptr;             // [units, ldx] of `compute`, padding columns zero
  const float* weight = nullptr;  // [features, units]
  const float* bias = nullptr;
  const void* xt = nullptr;  // [features, ldx] of `compute`
  void* scratch = nullptr;   // hidden_forward_scratch() bytes
  DType compute = DType::float32;
  int64_t batch = 0, ldx = 0, features = 0, units = 0;
  float dropout = 0;  // 0 at prediction
  uint64_t seed = 0, step = 0;
};
/// Bytes for a batch of at most ldx instances; hidden_backward_scratch, likewise.
inline int64_t hidden_forward_scratch(Cpu, const Machine&, int64_t, int64_t, int64_t, DType) { return 0; }
int64_t hidden_forward_scratch(Cuda, const Machine& machine, int64_t features, int64_t units, int64_t ldx,
                               DType compute);
void hidden_forward(Cpu, Context& context, const HiddenForward& p);
void hidden_forward(Cuda, Context& context, const HiddenForward& p);

/// Its backward and update in one pass over the features. Takes dht (gradient at ht) and overwrites it by the gradient
/// before ReLU and dropout; an active, kept unit is one with ht > 0.
struct HiddenBackward {
  float* dxt = nullptr;     // [features, ldx], or null when nobody asks for it
  float* dht = nullptr;     // [units, ldx], overwritten
  float* weight = nullptr;  // updated
  float* bias = nullptr;    // updated; null: nothing is
  StoredTensor weight_state[2];
  StoredTensor bias_state[2];
  void* scratch = nullptr;  // hidden_backward_scratch() bytes
  const void* ht = nullptr;
  const void* xt = nullptr;
  DType compute = DType::float32;  // of ht and xt
  int64_t batch = 0, ldx = 0, features = 0, units = 0;
  float dropout = 0;
  OptimizerStep optimizer;
  const uint32_t* skip = nullptr;
};
int64_t hidden_backward_scratch(Cpu, const Machine& machine, int64_t features, int64_t units, int64_t ldx,
                                DType compute);
int64_t hidden_backward_scratch(Cuda, const Machine& machine, int64_t features, int64_t units, int64_t ldx,
                                DType compute);
void hidden_backward(Cpu, Context& context, const HiddenBackward& p);
void hidden_backward(Cuda, Context& context, const HiddenBackward& p);

/// The hidden layer over sparse rows. Nonzeros in row order, checked by the caller; columns int32.
struct SparseHiddenForward {
  void* ht = nullptr;  // [units, ldx] of `compute`
  DType compute = DType::float32;
  float* rows_scratch = nullptr;  // [ldx, round_up(units, 16)]
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
void sparse_hidden_forward(Cuda, Context& context, const SparseHiddenForward& p);

/// Backward and update of the touched feature rows only. Nonzeros sorted by (feature, instance).
struct SparseEntry {
  uint32_t feature;
  uint32_t instance;
  float value;
};
struct SparseHiddenBackward {
  float* dht = nullptr;           // [units, ldx], overwritten by the gradient before ReLU and dropout
  float* rows_scratch = nullptr;  // [ldx, round_up(units, 16)]
  float* weight = nullptr;
  float* bias = nullptr;
  StoredTensor weight_state[2];
  StoredTensor bias_state[2];
  const void* ht = nullptr;  // of `compute`
  DType compute = DType::float32;
  const SparseEntry* entries = nullptr;
  const int64_t* runs = nullptr;  // [num_runs + 1] offsets into entries, one run per distinct feature
  int64_t num_runs = 0;
  int64_t batch = 0, ldx = 0, units = 0;
  float dropout = 0;
  OptimizerStep optimizer;
};
void sparse_hidden_backward(Cpu, Context& context, const SparseHiddenBackward& p);
void sparse_hidden_backward(Cuda, Context& context, const SparseHiddenBackward& p);

/// Uniform weights in [-bound, bound) from Philox keyed by (seed, purpose, segment, row, slot), and unique ascending
/// random indices. Padding rows get zeros; optimizer state is left alone.
struct InitSegment {
  Segment segment;
  float bound = 0, bias = 0;
  uint64_t seed = 0;
  uint32_t segment_number = 0;
};
void init_segment(Cpu, Context& context, const InitSegment& p);
void init_segment(Cuda, Context& context, const InitSegment& p);

/// Uniform hidden weights in [-bound, bound) from Philox keyed by (seed, purpose, 0, feature, unit); biases zero.
struct InitHidden {
  float* weight = nullptr;  // [features, units]
  float* bias = nullptr;    // [units]
  int64_t features = 0, units = 0;
  float bound = 0;
  uint64_t seed = 0;
};
void init_hidden(Cpu, Context& context, const InitHidden& p);
void init_hidden(Cuda, Context& context, const InitHidden& p);

/// One rewiring of a segment. A connection's score is its mean |w| times the root mean square of its feature: what its
/// logits would change by (Wanda: Sun et al. 2024, per group). Scores are recomputed in every pass instead of stored
/// (never groups x fan_in). rigl: from the same inputs, and their positives, the dense gradient is rebuilt group by
/// group.
struct KeptBatch {
  const void* xt = nullptr;             // [H, ldx] of RewireStep::compute, with the batch's own ldx
  const Positive* positives = nullptr;  // of this segment; rigl
  int64_t num_positives = 0;
  int64_t batch = 0;
  int64_t ldx = 0;
  const float* instance_weights = nullptr;  // as FanInStep
  const float* normaliser = nullptr;        // as FanInStep, of the present weights
};
struct RewireStep {
  int64_t* changed = nullptr;  // outputs, host scalars: the call returns when they are known
  double* score_dropped = nullptr;
  double* score_grown = nullptr;
  Segment segment;                  // updated
  void* scratch = nullptr;          // rewire_scratch() bytes
  const KeptBatch* kept = nullptr;  // [num_kept], one at least; the structs in host memory
  int64_t num_kept = 0;
  int64_t ldx = 0;  // at least that of every kept batch; what rewire_scratch() was asked for
  DType compute = DType::float32;
  RewiringMethod method = RewiringMethod::set;
  RewiringScope scope = RewiringScope::layer;
  Loss loss = Loss::bce;
  float logit_scale = 1.0f;  // as FanInStep
  double fraction = 0;
  uint64_t seed = 0, step = 0;
  uint32_t segment_number = 0;
};
/// @param kept rigl: the most batches that are kept; set: 0
int64_t rewire_scratch(Cpu, const Machine& machine, const Segment& segment, int64_t ldx, int64_t kept);
int64_t rewire_scratch(Cuda, const Machine& machine, const Segment& segment, int64_t ldx, int64_t kept);
void rewire_step(Cpu, Context& context, const RewireStep& p);
void rewire_step(Cuda, Context& context, const RewireStep& p);

/// average[i] += rate * (weights[i] - average[i]); a rate of 1 copies the weights, whatever the average holds.
struct AverageStep {
  float* average = nullptr;
  StoredTensor weights;  // read; fp32, or bf16 (CUDA)
  int64_t count = 0;     // elements as they lie in memory
  float rate = 1.0f;
  const uint32_t* skip = nullptr;
};
void average_step(Cpu, Context& context, const AverageStep& p);
void average_step(Cuda, Context& context, const AverageStep& p);

/// weights[i] = average[i], rounded to nearest even where weights are bf16.
struct StoreAverage {
  StoredTensor weights;
  const float* average = nullptr;
  int64_t count = 0;
};
void store_average(Cpu, Context& context, const StoreAverage& p);
void store_average(Cuda, Context& context, const StoreAverage& p);

}  // namespace sparsexmc::kernels
