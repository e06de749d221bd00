// A whole classifier on a GPU, or on the host shim, beside its twin on the CPU. Passes without a look where neither is.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>

#include "cuda_feed.h"
#include "scratch_directory.h"
#include "sparsexmc/error.h"

namespace {

using namespace cuda_tests;

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(double{a[i]} - double{b[i]}));
  return most;
}

void check_twins(ClassifierConfig config, double tolerance) {
  Classifier on_cuda(config);
  config.device = "cpu";
  config.compute_dtype.reset();
  Classifier on_cpu(config);
  Feed cuda_feed(on_cuda.context().device()), cpu_feed{Device{}};
  for (int i = 0; i < 6; ++i) {
    const StepResult a = cuda_feed.train(on_cuda, i), b = cpu_feed.train(on_cpu, i);
    CHECK(std::abs(a.loss - b.loss) < tolerance * b.loss);
    CHECK(largest_difference(cuda_feed.gradient(), cpu_feed.gradient()) < tolerance);
  }
  std::vector<float> cuda_scores, cpu_scores;
  std::vector<int64_t> cuda_ids, cpu_ids;
  cuda_feed.topk(on_cuda, cuda_scores, cuda_ids);
  cpu_feed.topk(on_cpu, cpu_scores, cpu_ids);
  CHECK(largest_difference(cuda_scores, cpu_scores) < tolerance);
  CHECK(on_cuda.context().pool().statistics().peak == on_cuda.memory_plan().total());
}

}  // namespace

TEST_CASE("CUDA: a model trains and predicts as its twin on the CPU, within its plan") {
  if (!has_cuda()) return;
  for (const bool hidden : {false, true})
    for (const auto& [compute, tolerance] : {std::pair{DType::float32, 1e-4}, std::pair{DType::bfloat16, 0.05}}) {
      CAPTURE(hidden);
      CAPTURE(dtype_name(compute));
      ClassifierConfig config = config_on("cuda", compute);
      if (hidden) config.hidden = Hidden{.features = 12};
      check_twins(config, tolerance);
    }
}

TEST_CASE("CUDA: sparse features train as on the CPU, also where a batch with NaN comes between") {
  if (!has_cuda()) return;
  with_late_events([] {
    ClassifierConfig config = config_on("cuda");
    config.sparse_input = true;
    config.hidden = Hidden{.features = 12};
    Classifier on_cuda(config);
    config.device = "cpu";
    config.compute_dtype.reset();
    Classifier on_cpu(config);
    const std::vector<int32_t> indptr = {0, 3, 5, 5, 9}, columns = {9, 1, 4, 0, 1, 2, 3, 7, 7},
                               labels = {2, 20, 3, 7, 8};
    const std::vector<int32_t> label_indptr = {0, 2, 3, 3, 5};
    std::vector<float> values = {1, 2, -1, 0.5f, 3, 1, 1, -2, 4};
    const auto start = [&](Classifier& classifier) {
      return classifier.start_step({batch, in_features, {indptr.data()}, {columns.data()}, values.data()},
                                   {batch, {label_indptr.data()}, {labels.data()}}, OnNonfinite::skip);
    };
    std::vector<int64_t> cuda_tickets, cpu_tickets;
    for (int i = 0; i < 9; ++i) {
      values[2] = i == 4 ? std::numeric_limits<float>::infinity() : static_cast<float>(i);
      cuda_tickets.push_back(start(on_cuda));
      cpu_tickets.push_back(start(on_cpu));
    }
    for (size_t i = 0; i < 9; ++i) {
      const StepResult a = on_cuda.finish_step(cuda_tickets[i]), b = on_cpu.finish_step(cpu_tickets[i]);
      CHECK(a.loss == doctest::Approx(b.loss).epsilon(1e-4));
      CHECK(a.skipped == (i == 4));
    }
    CHECK(on_cuda.progress().step == 8);
    CHECK(on_cuda.context().pool().statistics().peak == on_cuda.memory_plan().total());
  });
}

TEST_CASE("CUDA: steps may be started ahead and finished later, in any order") {
  if (!has_cuda()) return;
  with_late_events([] {
    Classifier waiting(config_on("cuda")), ahead(config_on("cuda"));
    Feed waiting_feed(waiting.context().device()), ahead_feed(ahead.context().device());
    std::vector<int64_t> tickets;
    for (int i = 0; i < 200; ++i) tickets.push_back(ahead_feed.start(ahead, i));
    std::vector<double> losses;
    for (int i = 0; i < 200; ++i) losses.push_back(waiting_feed.train(waiting, i).loss);
    CHECK(tickets.front() == 1);
    CHECK(ahead.finish_step(tickets[100]).loss == losses[100]);
    for (size_t i = 0; i < tickets.size(); ++i) CHECK(ahead.finish_step(tickets[i]).loss == losses[i]);
    CHECK_THROWS_AS(ahead.finish_step(0), ArgumentError);
    CHECK_THROWS_AS(ahead.finish_step(201), ArgumentError);
    CHECK(state(ahead) == state(waiting));
  });
}

TEST_CASE("CUDA: a batch with NaN changes nothing, and is counted or raised when it is noticed") {
  if (!has_cuda()) return;
  with_late_events([] {
    Classifier classifier(config_on("cuda"));
    Feed feed(classifier.context().device());
    feed.train(classifier, 0);
    const std::string before = state(classifier);

    const int64_t skipped = feed.start(classifier, 1, OnNonfinite::skip, true);
    CHECK(classifier.finish_step(skipped).skipped);
    CHECK(feed.gradient() == std::vector<float>(batch * in_features, 0.0f));
    CHECK(state(classifier) == before);
    CHECK(classifier.progress().step == 1);
    CHECK(classifier.progress().skipped == 1);

    const int64_t raised = feed.start(classifier, 1, OnNonfinite::raise, true);
    CHECK_THROWS_AS(classifier.finish_step(raised), ArgumentError);
    CHECK(classifier.finish_step(raised).skipped);  // raised once
    feed.start(classifier, 1, OnNonfinite::raise, true);
    CHECK_THROWS_AS(classifier.progress(), ArgumentError);  // the next call finds it
    CHECK(classifier.progress().step == 1);
    CHECK(classifier.progress().skipped == 1);
    CHECK(state(classifier) == before);
  });
}

TEST_CASE("CUDA: rewiring counts only steps that trained, and keeps the batches of these") {
  if (!has_cuda()) return;
  with_late_events([] {
    ClassifierConfig config = config_on("cuda");
    config.rewiring = Rewiring{.method = RewiringMethod::rigl, .interval = 5, .grow_batches = 3};
    Classifier with(config), without(config);
    Feed with_feed(with.context().device()), without_feed(without.context().device());
    for (int i = 0; i < 19; ++i) {
      for (int n = 0; n < i % 3; ++n) with_feed.start(with, i, OnNonfinite::skip, true);
      with_feed.start(with, i);
      without_feed.start(without, i);
    }
    CHECK(with.progress().step == 19);
    CHECK(with.progress().rewirings.size() == without.progress().rewirings.size());
    for (size_t i = 0; i < with.progress().rewirings.size(); ++i)
      CHECK(with.progress().rewirings[i].step == without.progress().rewirings[i].step);
    CHECK(with.progress().kept.size() == 2);
    for (const NamedTensor& tensor : with.tensors()) {
      if (!tensor.name.starts_with("optimizer.kept.")) continue;
      std::string a(tensor.bytes(), '\0'), b(tensor.bytes(), '\1');
      with.read(tensor.name, a.data());
      without.read(tensor.name, b.data());
      CHECK(a == b);
    }
  });
}

TEST_CASE("CUDA: a batch that passes the memory limit leaves the model as it was") {
  if (!has_cuda()) return;
  ClassifierConfig config = config_on("cuda");
  config.labels_per_instance = 1;
  config.memory_limit = plan(config).total();
  Classifier classifier(config);
  Feed feed(classifier.context().device());
  feed.train(classifier, 0);
  const std::string before = state(classifier);
  feed.label_all(true);
  CHECK_THROWS_AS(feed.start(classifier, 1), MemoryPlanError);
  CHECK(state(classifier) == before);
  feed.label_all(false);
  feed.train(classifier, 1);
  CHECK(classifier.progress().step == 2);
}

TEST_CASE("CUDA: checkpoints go from device to device; the CPU widens bfloat16 weights") {
  if (!has_cuda()) return;
  const ScratchDirectory directory;
  ClassifierConfig config = config_on("cuda", DType::bfloat16);
  config.weight_dtype = DType::bfloat16;
  config.rewiring = Rewiring{.method = RewiringMethod::rigl, .interval = 5, .grow_batches = 3};
  Classifier first(config);
  Feed feed(first.context().device());
  for (int i = 0; i < 4; ++i) feed.train(first, i);
  first.save(directory / "model");
  Classifier second = Classifier::load(directory / "model");
  CHECK(state(second) == state(first));
  CHECK(second.config().weight_dtype == DType::bfloat16);
  for (int i = 4; i < 8; ++i) CHECK(feed.train(first, i).loss == feed.train(second, i).loss);
  CHECK(state(second) == state(first));

  Classifier third = Classifier::load(directory / "model", "cpu");
  CHECK(third.config().weight_dtype == DType::float32);
  CHECK(third.compute_dtype() == DType::bfloat16);
  Classifier fourth = Classifier::load(directory / "model");
  for (const NamedTensor& tensor : third.tensors()) {
    std::string wide(tensor.bytes(), '\0'), stored(tensor.bytes(), '\1');
    third.read(tensor.name, wide.data());
    fourth.read(tensor.name, stored.data(), tensor.dtype);
    CHECK(wide == stored);
    fourth.write(tensor.name, wide.data(), tensor.dtype);
  }
  CHECK(state(fourth) == state(Classifier::load(directory / "model")));
}

TEST_CASE("CUDA: after a failed launch every call names the failure") {
  const auto fail_launch = shim_control<void(int64_t)>("sparsexmc_shim_fail_launch");
  if (!has_cuda() || fail_launch == nullptr) return;
  Classifier classifier(config_on("cuda"));
  Feed feed(classifier.context().device());
  feed.train(classifier, 0);
  fail_launch(3);
  CHECK_THROWS_AS(feed.start(classifier, 1), DeviceError);
  fail_launch(0);
  CHECK_THROWS_WITH_AS(classifier.progress(), doctest::Contains("checkpoint"), DeviceError);
  CHECK_THROWS_AS(feed.start(classifier, 1), DeviceError);
}

TEST_CASE("what the host keeps of a model on a GPU is planned and measured too") {
  if (!has_cuda()) return;
  ClassifierConfig config = config_on("cuda");
  config.auxiliary = MetaClassifier{.clusters = 3, .weight = 0.4, .steps = 100};
  config.rewiring = Rewiring{};  // rigl, which keeps batches
  config.num_instances = 50;
  const std::vector<int64_t> counts(num_labels, 1);
  Classifier classifier(config, {.counts = counts.data()});
  size_t planned = 0;
  std::set<std::string> names;
  for (const MemoryEntry& entry : classifier.memory_plan().host_entries) {
    planned += entry.bytes;
    names.insert(entry.name);
  }
  CHECK(names == std::set<std::string>{"auxiliary.clusters", "label_counts", "label_order", "label_rows",
                                       "rewiring.kept_positives"});
  CHECK(classifier.context().host_pool().statistics().peak == planned);
  CHECK(plan(config_on("cpu")).host_entries.empty());
}
