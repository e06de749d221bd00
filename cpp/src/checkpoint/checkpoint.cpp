// Saving and loading a classifier, in terms of its public methods only.
#include "sparsexmc/checkpoint.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <utility>

#include "checkpoint/manifest.h"
#include "checkpoint/open_model.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensors.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"

namespace sparsexmc {
namespace {

using namespace checkpoint;  // NOLINT(google-build-using-namespace): this file is its front

std::string describe(const NamedTensor& tensor) {
  std::string text = std::string(dtype_name(tensor.dtype)) + " [";
  for (size_t i = 0; i < tensor.shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(tensor.shape[i]);
  return text + "]";
}

/// Refuses sizes that the files cannot hold before memory is taken for them. Every label has an int64 id and its
/// weights, a weight at least one byte.
void check_sizes(const OpenModel& opened) {
  const Manifest& manifest = opened.manifest;
  const InputFile& model = opened.file(model_file);
  const ClassifierConfig& config = manifest.config;
  double least = static_cast<double>(config.num_labels) *
                 static_cast<double>(sizeof(int64_t) + config.fan_in.value_or(config.layer_features()));
  if (config.hidden) least += static_cast<double>(config.in_features) * static_cast<double>(config.hidden->features);
  if (least > static_cast<double>(model.size()))
    throw CheckpointError("'" + model.path() + "' has only " + std::to_string(model.size()) +
                          " bytes, too few for the configuration in config.json; the checkpoint is damaged");
  for (const KeptBatchSize& kept : manifest.progress.kept)
    if (const InputFile& optimizer = opened.file(optimizer_file);
        static_cast<uint64_t>(kept.positives) > optimizer.size())
      throw CheckpointError("'" + optimizer.path() + "' has only " + std::to_string(optimizer.size()) +
                            " bytes, too few for the kept batches in config.json; the checkpoint is damaged");
}

/// Where each tensor of a checkpoint is found.
struct TensorPlace {
  const SafetensorsReader* reader;
  size_t number;

  const NamedTensor& tensor() const { return reader->tensors()[number]; }
};
using TensorIndex = std::map<std::string, TensorPlace>;

/// May the stored tensor be written to the model's? The output layer's weights may be of another precision, also where
/// averages have taken their name.
bool fits(const NamedTensor& stored, const NamedTensor& expected) {
  const bool weights =
      is_optimizer_state(expected) ? expected.name.ends_with(".weights.trained") : expected.name.ends_with(".weights");
  const bool converts = weights && is_float(stored.dtype) && is_float(expected.dtype);
  return stored.shape == expected.shape && (stored.dtype == expected.dtype || converts);
}

/// Whether a model holds the optimizer's state, as all do but those for prediction alone.
bool has_optimizer(const OpenModel& opened) { return opened.manifest.parts.contains(optimizer_file); }

/// Refuses files that hold anything else than exactly the model's tensors.
/// @param optimizer nullptr: the model is for prediction alone, and the optimizer's tensors are not expected
TensorIndex match(std::vector<NamedTensor> expected, const SafetensorsReader& model, const SafetensorsReader* optimizer,
                  const std::string& path) {
  if (optimizer == nullptr) std::erase_if(expected, is_optimizer_state);
  TensorIndex index;
  for (const SafetensorsReader* reader : {&model, optimizer})
    for (size_t i = 0; reader != nullptr && i < reader->tensors().size(); ++i) {
      const NamedTensor& tensor = reader->tensors()[i];
      if (is_optimizer_state(tensor) != (reader == optimizer))
        throw CheckpointError("'" + path + "': tensor '" + tensor.name + "' is in the wrong file; it is damaged");
      index.insert_or_assign(tensor.name, TensorPlace{reader, i});
    }
  for (const NamedTensor& tensor : expected) {
    const auto found = index.find(tensor.name);
    if (found == index.end())
      throw CheckpointError("'" + path + "': tensor '" + tensor.name + "' is missing; the checkpoint is damaged");
    const NamedTensor& stored = found->second.tensor();
    if (!fits(stored, tensor))
      throw CheckpointError("'" + path + "': tensor '" + tensor.name + "' is " + describe(stored) +
                            ", but the configuration needs " + describe(tensor) + "; the checkpoint is damaged");
  }
  if (index.size() != expected.size())
    for (const auto& [name, place] : index)
      if (std::ranges::find(expected, name, &NamedTensor::name) == expected.end())
        throw CheckpointError("'" + path + "': the model has no tensor '" + name + "'; the checkpoint is damaged");
  return index;
}

/// Writes progress and tensors of an open model into a classifier of its configuration. What the files hold is compared
/// with the classifier before anything is written, also what a classifier for prediction alone does not read.
void read_state(const OpenModel& opened, Classifier& classifier) {
  const std::string& path = opened.directory.path();
  if (classifier.trainable() && !has_optimizer(opened))
    throw CheckpointError("'" + path + "' holds no '" + optimizer_file + "', as it was written for prediction only; " +
                          "load it with trainable=False, or load the model that it was made of");
  const SafetensorsReader model(opened.file(model_file));
  std::optional<SafetensorsReader> optimizer;
  if (has_optimizer(opened)) optimizer.emplace(opened.file(optimizer_file));
  Progress progress = opened.manifest.progress;
  const TensorIndex index =
      match(checkpoint_tensors(classifier.config(), progress), model, optimizer ? &*optimizer : nullptr, path);
  if (!classifier.trainable()) {
    progress.kept.clear();
    progress.averaged = 0;
    progress.average_in_use = false;
  }
  try {
    classifier.set_progress(progress);
    std::vector<NamedTensor> stored;
    for (const NamedTensor& tensor : classifier.tensors()) stored.push_back(index.at(tensor.name).tensor());
    const auto buffer = make_buffer(stored);
    for (const NamedTensor& tensor : stored) {
      InterruptScope::check();
      const TensorPlace& place = index.at(tensor.name);
      place.reader->read(place.number, buffer.get());
      classifier.write(tensor.name, buffer.get(), tensor.dtype);
    }
  } catch (const ArgumentError& error) {
    throw CheckpointError("'" + path + "': " + error.what() + "; the checkpoint is damaged");
  }
}

}  // namespace

void Classifier::save(const std::string& path, const std::vector<std::string>& label_names,
                      const std::string& card) const {
  ModelWriter writer(path);
  writer.add_classifier(*this, label_names, card);
  writer.publish();
}

Classifier Classifier::load(const std::string& path, const std::string& device, int num_threads, bool trainable,
                            std::shared_ptr<Context> context) {
  return ModelReader(path).classifier(device, num_threads, trainable, std::move(context));
}

void ModelReader::restore(Classifier& classifier) const {
  const InterruptScope uninterrupted([] {});  // half a state would be left
  read_state(*model_, classifier);
}

Classifier Classifier::restore(const OpenModel& opened, const std::string& device, int num_threads, bool trainable,
                               std::shared_ptr<Context> context) {
  check_sizes(opened);
  ClassifierConfig config = opened.manifest.config;
  if (context) {
    config.device = context->device().name();
  } else if (!device.empty()) {
    config.device = device;
  }
  config.num_threads = context ? 0 : num_threads;
  if (Device::parse(config.device).kind == DeviceKind::cpu) config.weight_dtype = DType::float32;
  Classifier classifier(config, Restored{trainable, std::move(context)});
  read_state(opened, classifier);
  return classifier;
}

}  // namespace sparsexmc
