// The configuration of a classifier: plain data, checked as a whole, written to and read from JSON.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sparsexmc/export.h"
#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

// What each of them is, the library knows from kernels/losses.h alone.
/// The loss is summed over labels and averaged over the instances of the batch.
enum class Loss {
  bce,            ///< log(1 + exp(-y z)), y in {-1, +1}
  squared_hinge,  ///< max(0, 1 - y z)^2 (Schultheis and Babbar 2023)
  softmax         ///< -sum over the labels of y log p, p = softmax(z): see Softmax
};

/// Softmax cross-entropy over all labels. The target y of an instance with n labels is 1 / n for each of them; one
/// without labels has no loss. A label's positive weight w is the weight of its class: the loss is -sum of w y log p,
/// as that of frameworks, but for the mean, which is over the batch.
struct Softmax {
  double scale = 1.0;            ///< p = softmax(scale z): an inverse temperature
  double label_smoothing = 0.0;  ///< in [0, 1): share of the target that all labels get alike, whatever their weights
  double z_loss = 0.0;           ///< factor on (log of the sum of exponentials)^2, added to the loss of an instance
  int64_t ignore_index = -100;   ///< < 0; Python reads it in arrays of one label per instance as no label
};

/// Their names, which configurations read, in the order of their values.
SPARSEXMC_API std::vector<std::string> loss_names();

/// w <- w - lr (v), v <- momentum v + g + weight_decay w. Momentum 0 keeps no buffer. Biases are not decayed.
struct Sgd {
  double lr = 0.05;
  double momentum = 0.0;
  double weight_decay = 0.0;
};

/// Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019). Biases are not decayed.
struct Adam {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
};

enum class OptimizerKind { sgd, adam };

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::sgd;
  Sgd sgd;
  Adam adam;

  double lr() const { return kind == OptimizerKind::sgd ? sgd.lr : adam.lr; }
  /// Of SGD, or beta1 of Adam.
  double momentum() const { return kind == OptimizerKind::sgd ? sgd.momentum : adam.beta1; }
  /// fp32 numbers of state per weight: 0 (SGD), 1 (SGD with momentum) or 2 (Adam).
  int state_slots() const { return kind == OptimizerKind::adam ? 2 : sgd.momentum != 0.0 ? 1 : 0; }
};

/// Learning rate over the steps: a linear warm-up, then constant, or decreasing to `final_share` of lr at
/// `total_steps`.
enum class ScheduleKind { constant, linear, cosine };

struct SPARSEXMC_API Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;  ///< > warmup_steps; 0: of the training (Classifier::set_total_steps), and until then 1
  double final_share = 0.0;

  /// The same for a training of that many steps, 0 if they are not known: what was left open follows from them.
  Schedule for_total_steps(int64_t steps) const;

  /// Factor on the learning rate for the update number `step`, counted from 0.
  double factor(int64_t step) const;
};

/// The dense penultimate layer: features -> ReLU -> dropout.
struct Hidden {
  int64_t features = 0;
  double dropout = 0.0;      ///< probability of zeroing, in [0, 1); survivors are scaled by 1 / (1 - dropout)
  double input_scale = 1.0;  ///< features are multiplied by it: rows of unit length learn faster with 3 to 10 when they
                             ///< are sparse, and with the root of their number when they are dense
  double initial_scale = 1.0;  ///< the random weights of the start are multiplied by it
};

enum class RewiringMethod { set, rigl };
enum class RewiringScope { layer, group };
enum class FractionSchedule { constant, cosine };

/// Dropping weak connections and growing new ones (SET: Mocanu et al. 2018; RigL: Evci et al. 2020).
struct SPARSEXMC_API Rewiring {
  RewiringMethod method = RewiringMethod::rigl;
  double fraction = 0.3;  ///< share of the connections changed each time, in (0, 1)
  FractionSchedule fraction_schedule = FractionSchedule::cosine;  ///< without a stop the share is constant
  int64_t interval = 0;  ///< steps between rewirings; 0: a dozen in the training, or every 1000 steps
  int64_t start = 0;     ///< no rewiring before this step
  int64_t stop = 0;      ///< none at or after this step; 0: after three quarters of the training
  RewiringScope scope = RewiringScope::group;
  int64_t grow_batches = 16;  ///< rigl: the last batches, whose gradients are averaged

  /// The same for a training of that many steps, 0 if they are not known: what was left open follows from them. While
  /// they are not known, an open interval rewires nothing, and an open stop stands for never.
  Rewiring for_total_steps(int64_t steps) const;
  /// Whether a rewiring follows the step that made the count of finished steps `step`.
  bool due(int64_t step) const;
  /// Share to change at that point.
  double fraction_at(int64_t step) const;
  /// The most batches that are kept for a rewiring: rigl, grow_batches, or as many as come between two.
  int64_t kept_batches() const {
    if (method != RewiringMethod::rigl) return 0;
    return interval == 0 ? grow_batches : std::min(grow_batches, interval);
  }
};

/// Bias of every label at the start.
struct InitialBias {
  enum class Kind {
    constant,   ///< `value`
    frequency,  ///< the constant logit of least loss on the training data, from LabelData::counts (see label_data.h)
    array       ///< LabelData::initial_bias
  };
  Kind kind = Kind::constant;
  double value = 0.0;

  InitialBias() = default;
  InitialBias(double constant) : value(constant) {}  // NOLINT(google-explicit-constructor): a number is a bias
};

/// Factor on the loss of each label's positives, so that rare labels, whose positives are often missing from the data,
/// weigh more.
enum class PositiveWeights {
  none,        ///< 1
  propensity,  ///< 2 / p - 1 with the propensity p (Qaraei et al. 2021), from LabelData::counts (see label_data.h)
  array        ///< LabelData::positive_weights
};

/// Propensity of a label on n of N instances: 1 / (1 + C (n + b)^-a), C = (ln N - 1)(b + 1)^a (Jain et al. 2016).
struct Propensity {
  double a = 0.55;
  double b = 1.5;
};

/// A dense layer over clusters of labels on the input of the output layer, which shapes what is in front of both early
/// in training (Ullah et al. 2024). Its loss is the BCE of "the instance has a positive in this cluster", summed over
/// clusters and averaged over instances as the main loss is over labels; the total is main + weight_at(step) * it.
struct SPARSEXMC_API MetaClassifier {
  int64_t clusters = 0;  ///< their number
  double weight = 0.4;   ///< at the first step; decreases to 0 along half a cosine
  int64_t steps = 0;     ///< from this step on the weight is 0, and the layer rests

  double weight_at(int64_t step) const;
};

enum class AverageMethod {
  ema,  ///< exponential moving average: the weights after a step count `decay` times those after the next one
  mean  ///< the plain mean of all (stochastic weight averaging: Izmailov et al. 2018)
};

/// Running average of all trained weights, which can predict better than the weights of the last step while these still
/// move about. Updated after a step as a <- a + rate (w - a), in fp32, beside the training, which it does not change.
struct SPARSEXMC_API WeightAverage {
  AverageMethod method = AverageMethod::ema;
  double decay = 0.999;      ///< of ema, in [0, 1)
  int64_t start = 0;         ///< steps of the training that are left out
  double start_share = 0.0;  ///< the same as a share of its length (Classifier::set_total_steps), in [0, 1); the later
                             ///< of both counts. Above 0 and the length not known: nothing is averaged yet
  int64_t every = 1;         ///< steps from one update to the next

  /// Whether an update follows the step that made the count of finished steps `step`.
  /// @param total_steps of the training; 0: not known
  bool due(int64_t step, int64_t total_steps) const;
  /// Of update number `count`, from 1. ema: (1 - decay) / (1 - decay^count), so that the weights of count updates sum
  /// to 1 and the first counts like the others: the correction of the bias is in it. mean: 1 / count.
  double rate(int64_t count) const;
};

struct SPARSEXMC_API ClassifierConfig {
  int64_t in_features = 0;  ///< width of the embeddings, or number of sparse features
  int64_t num_labels = 0;
  std::optional<int64_t> fan_in;  ///< none: every label is dense
  int64_t group_size = 16;
  int64_t dense_labels = 0;  ///< number of most frequent labels that read all features
  std::optional<Hidden> hidden;
  bool sparse_input = false;  ///< the hidden layer reads CSR rows
  Loss loss = Loss::bce;
  Softmax softmax;  ///< for Loss::softmax
  PositiveWeights positive_weights = PositiveWeights::none;
  Propensity propensity;  ///< for PositiveWeights::propensity
  std::optional<MetaClassifier> auxiliary;
  OptimizerConfig optimizer;
  Schedule schedule;
  std::optional<Rewiring> rewiring;
  std::optional<WeightAverage> average;  ///< kept from the first step on; see also Classifier::start_average
  DType weight_dtype = DType::float32;   ///< of the output layer: float32, or on CUDA bfloat16, rounded stochastically
  /// The dtype that products read when the output layer trains; none: float32 on the CPU, bfloat16 on CUDA. On the CPU
  /// bfloat16 takes processors with matrix units (AMX); others give the same products, more slowly than float32.
  std::optional<DType> compute_dtype;
  InitialBias initial_bias;   ///< with BCE a value near the log-odds of a label starts calmer
  int64_t num_instances = 0;  ///< of the training data; 0: not known. Known, the model keeps it and LabelData::counts
  int64_t batch_size = 256;   ///< the largest batch a step may bring
  int64_t labels_per_instance = 128;    ///< the plan reserves for batch_size times this many positives
  int64_t features_per_instance = 512;  ///< the same for the nonzeros of sparse input
  int64_t topk = 100;                   ///< the plan reserves for this k
  int num_threads = 0;
  size_t memory_limit = 0;  ///< bytes; 0: none
  uint64_t seed = 0;
  std::string device = "cpu";

  /// Width that the output layer reads: the hidden layer's, else in_features.
  int64_t layer_features() const { return hidden ? hidden->features : in_features; }

  /// @throws ArgumentError naming the first field that is wrong, its value and the remedy.
  void check() const;

  std::string to_json() const;
  /// @throws ArgumentError naming an unknown or ill-typed key.
  static ClassifierConfig from_json(const std::string& text);
};

}  // namespace sparsexmc
