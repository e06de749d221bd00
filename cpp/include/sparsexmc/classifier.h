// The sparse classifier: training step, prediction, state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sparsexmc/config.h"
#include "sparsexmc/context.h"
#include "sparsexmc/export.h"
#include "sparsexmc/plan.h"
#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

class ModelReader;
namespace checkpoint {
struct OpenModel;
}

/// Data about its labels that a classifier is made with: arrays of num_labels by user label id, unless said
/// otherwise; null: not given.
struct LabelData {
  const int64_t* order = nullptr;   ///< internal row -> user id, a permutation; null: by descending counts, then by id
  const int64_t* counts = nullptr;  ///< training frequency, at most config.num_instances if that is known
  const float* initial_bias = nullptr;      ///< finite; for InitialBias::Kind::array
  const float* positive_weights = nullptr;  ///< finite and > 0; for PositiveWeights::array
  const int64_t* clusters = nullptr;  ///< of the meta-classifier; null: equally long runs of rows of the internal order
};

/// The effect of one rewiring on a segment.
struct RewiringRecord {
  int64_t step;
  int segment;
  int64_t changed;       ///< connections replaced (index entries; each is group_size weights)
  double score_dropped;  ///< mean over the dropped connections of |w| times the scale of the feature
  double score_grown;    ///< rigl: mean group gradient norm of the grown connections; set: 0
};

struct StepResult {
  double loss = 0.0;            ///< summed over labels, averaged over the instances, also of weighted ones
  double auxiliary_loss = 0.0;  ///< of the meta-classifier, before its weight; 0 without it and when its weight is 0
  bool skipped = false;         ///< the batch held NaN or Inf and on_nonfinite was skip: nothing changed
  bool rewired = false;
};

enum class OnNonfinite { raise, skip };

/// Sizes of a batch that is kept for the next RigL rewiring.
struct KeptBatchSize {
  int64_t batch;
  int64_t positives;
  bool weighted = false;  ///< its instances have weights
};

/// Where training stands; with the tensors it is the whole state of a classifier. On CUDA `step` counts a queued step
/// at once and is corrected when its batch turns out to be skipped: the steps queued meanwhile have used the learning
/// rate, the bias correction of Adam and the random numbers of a step number that was one too high.
struct Progress {
  int64_t step = 0;             ///< finished steps
  int64_t skipped = 0;          ///< batches skipped because of NaN or Inf
  double lr = 0.0;              ///< base learning rate
  int64_t total_steps = 0;      ///< of the whole training, see set_total_steps(); 0: not known
  int64_t averaged = 0;         ///< updates of the running averages of ClassifierConfig::average so far
  bool average_in_use = false;  ///< they predict, see Classifier::use_average
  std::vector<RewiringRecord> rewirings;
  /// Their contents are tensors: "optimizer.kept.<i>.inputs", ".positives" and, of a weighted one, ".instance_weights".
  std::vector<KeptBatchSize> kept;
};

/// A tensor of the model as the checkpoint names it.
struct SPARSEXMC_API NamedTensor {
  std::string name;  ///< e.g. "segments.1.weights"
  DType dtype;
  std::vector<int64_t> shape;
  size_t bytes() const;
};

/// The tensors that a checkpoint of such a classifier at that point of its training holds, in its order.
SPARSEXMC_API std::vector<NamedTensor> checkpoint_tensors(const ClassifierConfig& config, const Progress& progress);

/// Owns weights, optimizer state and scratch, all from the pool of its context. Not thread-safe; one call at a time.
/// On CUDA a call runs on the context's stream. If the device fails while a call works on it, the state is unknown:
/// every later call throws DeviceError.
class SPARSEXMC_API Classifier {
 public:
  /// Checks the configuration and the plan, then allocates exactly the plan and initialises the weights.
  /// @param context where it lives, perhaps beside others; config's device must be the context's and num_threads 0 or
  ///        the context's. null: a context of its own with config.memory_limit. memory_limit bounds the plan of this
  ///        classifier, the context's limit what all of its classifiers hold
  /// @throws ArgumentError, MemoryPlanError, DeviceError
  explicit Classifier(const ClassifierConfig& config, const LabelData& labels = {},
                      std::shared_ptr<Context> context = nullptr);
  ~Classifier();
  Classifier(Classifier&&) noexcept;
  Classifier& operator=(Classifier&&) noexcept;

  const ClassifierConfig& config() const;
  Context& context();
  const MemoryPlan& memory_plan() const;
  /// False: loaded for prediction only. Training, eval_step, regroup, set_lr and save throw ArgumentError then.
  bool trainable() const;
  /// The dtype that products read: ClassifierConfig::compute_dtype, or the device's own choice.
  DType compute_dtype() const;

  /// One fused step: forward, loss, gradients, update, and rewiring when due. Waits for the result.
  /// @param embeddings [b, in_features], 1 <= b <= batch_size, float32 / float16 / bfloat16
  /// @param labels b rows
  /// @param gradient null, or [b, in_features] of the embeddings' dtype or float32: receives dloss/dembeddings
  /// @param instance_weights null: all 1; or b finite numbers >= 0 in host memory, factors s on the losses of the
  ///        instances, the meta-classifier's included: the loss is sum_i s_i (sum over labels) / b. It is divided by
  ///        the size of the batch, not by the sum of the weights, so that the learning rate of an instance is the same
  ///        in every batch
  /// @throws ArgumentError, TypeError; the model is as before the call
  /// @throws DivergenceError if the loss of a finite batch is not finite, whatever `on_nonfinite` is: the model is lost
  StepResult train_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient = nullptr,
                        OnNonfinite on_nonfinite = OnNonfinite::raise, const float* instance_weights = nullptr);
  /// The same for sparse features; needs a hidden layer. Only rows of the hidden weight whose feature occurs in the
  /// batch are updated (their momentum and decay rest meanwhile).
  StepResult train_step(const CsrView& features, const LabelsView& labels,
                        OnNonfinite on_nonfinite = OnNonfinite::raise, const float* instance_weights = nullptr);

  /// The same without waiting: on CUDA it only queues the step (one at which a rewiring is due waits for all before
  /// it). Labels, weights, features and, in the order of the stream, embeddings and gradient are read and written as
  /// in train_step. A NaN or Inf in a batch with OnNonfinite::raise changes nothing either; it is thrown by
  /// finish_step(), or by the next call of any kind that finds it.
  /// @returns a ticket for finish_step(): the number of the step call, from 1
  int64_t start_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient = nullptr,
                     OnNonfinite on_nonfinite = OnNonfinite::raise, const float* instance_weights = nullptr);
  int64_t start_step(const CsrView& features, const LabelsView& labels, OnNonfinite on_nonfinite = OnNonfinite::raise,
                     const float* instance_weights = nullptr);
  /// Waits for a started step. The last 65536 results can be asked for.
  /// @throws ArgumentError for an unknown ticket, or for a NaN or Inf in this step or an earlier one (once)
  /// @throws DivergenceError if the loss of one of them is not finite (once)
  StepResult finish_step(int64_t ticket);

  /// Loss and gradient of the embeddings as a step would give them, without the meta-classifier; nothing is updated.
  /// Waits for the result.
  /// @param gradient, instance_weights as in train_step
  /// @param dropout also drop units of the hidden layer, as the next step would
  /// @throws ArgumentError, TypeError
  StepResult eval_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient = nullptr,
                       OnNonfinite on_nonfinite = OnNonfinite::raise, bool dropout = false,
                       const float* instance_weights = nullptr);

  /// The k best labels per row, ranked by fp32 logit, ties to the smaller label id. Any number of rows.
  /// @param scores [n, k] float32 logits, descending  @param ids [n, k] int64 user label ids
  /// @param label_weights null, or num_labels positive numbers w by user label id: scores are logit + ln w then
  /// @throws ArgumentError, TypeError, also for scores that are not finite
  void topk(const TensorView& embeddings, int64_t k, float* scores, int64_t* ids, const float* label_weights = nullptr);
  void topk(const CsrView& features, int64_t k, float* scores, int64_t* ids, const float* label_weights = nullptr);

  /// The hidden layer's output in prediction, which the output layer reads. Any number of rows.
  /// @param out [n, hidden units] float32 in host memory
  /// @throws ArgumentError, TypeError
  void hidden_activations(const TensorView& embeddings, float* out);
  void hidden_activations(const CsrView& features, float* out);

  /// Base learning rate (before the schedule's factor); settable between steps.
  double lr() const;
  void set_lr(double lr);
  /// Momentum of SGD, or beta1 of Adam; settable between steps. Checkpoints keep what the configuration says.
  double momentum() const;
  /// @throws ArgumentError outside of [0, 1), and where SGD was configured without momentum and so without its state
  void set_momentum(double momentum);
  /// Length of the training, from its first step on; 0, as at the start: not known. What the schedule and the rewiring
  /// of the configuration leave open follows from it. Settable between steps; checkpoints keep it.
  /// @throws ArgumentError if it is negative
  void set_total_steps(int64_t steps);
  Progress progress() const;
  /// Continues from there; load() calls it before it writes the tensors.
  void set_progress(const Progress& progress);

  /// Which weights predict, are evaluated, read and saved: the running averages, or the trained ones as at the start
  /// and after every call of a step. Averages in use are float32 tensors under the names of the weights; the trained
  /// weights are "optimizer.<name>.trained" then, so that training can go on. Before the first update there are no
  /// averages, and the trained weights predict. Which is in use is part of progress().
  /// @throws ArgumentError if config().average is none
  void use_average(bool use);
  /// Begins to average the trained weights, in memory that is taken now; config() and memory_plan() say so from then
  /// on.
  /// @throws ArgumentError if there is a running average already, or a setting is wrong
  /// @throws MemoryPlanError; nothing has changed
  void start_average(const WeightAverage& average);
  /// Ends averaging and gives its memory back.
  /// @param keep the averages, if there has been an update, become the weights, rounded to nearest where these are
  ///        bfloat16. The state of the optimizer stays
  /// @throws ArgumentError if config().average is none
  void stop_average(bool keep);

  /// Tensors in checkpoint order. Weights are [rows, fan_in] row-major, without padding rows.
  std::vector<NamedTensor> tensors() const;
  /// Copies a tensor out. @param dtype of `out`: the tensor's own, or for weights float32 or bfloat16
  /// @throws ArgumentError for an unknown name
  void read(const std::string& name, void* out, std::optional<DType> dtype = std::nullopt) const;
  /// Replaces a tensor. Indices must be ascending and unique within a row, label_order a permutation. float32 weights
  /// become bfloat16 by rounding to nearest. @param dtype of `data`, as in read()
  /// @throws ArgumentError, also for weights that are NaN or Inf; the model is unchanged
  void write(const std::string& name, const void* data, std::optional<DType> dtype = std::nullopt);

  /// Puts the labels of the tail into other groups. A group then reads the features with the largest sum of |w| over
  /// its new labels; a label keeps weight and optimizer state where it read the feature before, and has zeros
  /// elsewhere, as have the averages. Label ids stay as they are. Takes host memory for twice the weights.
  /// @param order internal row -> user id: a permutation that begins with the dense labels as they are
  /// @throws ArgumentError; the model is unchanged
  void regroup(const int64_t* order);
  /// An order for regroup() in which labels with similar weights share a group, by cluster_labels().
  std::vector<int64_t> order_by_weights(uint64_t seed) const;

  /// Writes a checkpoint directory: complete in a sibling temporary directory, then renamed.
  /// @param label_names empty, or num_labels names  @param card text of the model card; empty: a short default
  /// @throws CheckpointError, also for weights that are NaN or Inf; an existing checkpoint at `path` stays whole
  void save(const std::string& path, const std::vector<std::string>& label_names = {},
            const std::string& card = "") const;
  /// @param device overrides the stored device unless empty; the CPU widens bfloat16 weights to float32
  /// @param num_threads 0: default
  /// @param trainable false: takes memory for weights and prediction only; the optimizer's state is verified, not read
  /// @param context as in the constructor; overrides device and num_threads
  static Classifier load(const std::string& path, const std::string& device = "", int num_threads = 0,
                         bool trainable = true, std::shared_ptr<Context> context = nullptr);

 private:
  friend class ModelReader;
  static Classifier restore(const checkpoint::OpenModel& model, const std::string& device, int num_threads,
                            bool trainable, std::shared_ptr<Context> context);

  struct Restored {
    bool trainable;
    std::shared_ptr<Context> context;
  };
  /// Of a checkpoint, which brings what LabelData would as tensors.
  Classifier(const ClassifierConfig& config, const Restored& how);

  struct SPARSEXMC_HIDDEN Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparsexmc
