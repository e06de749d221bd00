// Saving and loading a classifier, in terms of its public methods only.
#include "sparsexmc/checkpoint.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <utility>

#include "checkpoint/card.h"
#include "checkpoint/directory.h"
#include "checkpoint/labels.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

using namespace checkpoint;  // NOLINT(google-build-using-namespace): this file is its front

bool is_float(DType dtype) { return dtype == DType::float32 || dtype == DType::bfloat16; }

bool is_optimizer_state(const NamedTensor& tensor) { return tensor.name.starts_with("optimizer."); }

std::string describe(const NamedTensor& tensor) {
  std::string text = std::string(dtype_name(tensor.dtype)) + " [";
  for (size_t i = 0; i < tensor.shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(tensor.shape[i]);
  return text + "]";
}

/// One buffer for every tensor in turn, as large as the largest.
std::unique_ptr<std::byte[]> make_buffer(const std::vector<NamedTensor>& tensors) {
  size_t bytes = 0;
  for (const NamedTensor& tensor : tensors) bytes = std::max(bytes, tensor.bytes());
  return std::make_unique_for_overwrite<std::byte[]>(bytes);
}

FileRecord write_tensors(const Directory& directory, const char* name, const Classifier& classifier,
                         std::vector<NamedTensor> tensors, std::byte* buffer) {
  OutputFile file(directory, name);
  SafetensorsWriter writer(file, std::move(tensors));
  for (const NamedTensor& tensor : writer.tensors()) {
    classifier.read(tensor.name, buffer);
    writer.write(buffer);
  }
  return file.finish();
}

FileRecord write_text(const Directory& directory, const char* name, const std::string& text) {
  OutputFile file(directory, name);
  file.write(text);
  return file.finish();
}

/// Weights and biases: what a reader of the model card counts.
int64_t count_parameters(const std::vector<NamedTensor>& tensors) {
  int64_t parameters = 0;
  for (const NamedTensor& tensor : tensors)
    if (!is_optimizer_state(tensor) && is_float(tensor.dtype) && !tensor.name.ends_with(".positive_weights"))
      parameters += static_cast<int64_t>(tensor.bytes() / dtype_size(tensor.dtype));
  return parameters;
}

void verify(const InputFile& file, const FileRecord& expected) {
  if (file.size() != expected.bytes)
    throw CheckpointError("'" + file.path() + "' has " + std::to_string(file.size()) + " bytes, but config.json says " +
                          std::to_string(expected.bytes) + "; it is truncated or damaged: copy the checkpoint again");
  if (file.record().sha256 != expected.sha256)
    throw CheckpointError("'" + file.path() + "' does not match its hash in config.json; it was damaged or edited: " +
                          "copy the checkpoint again");
}

/// Opens and verifies all files. Opens all of them first, as the checkpoint may be replaced meanwhile.
std::map<std::string, InputFile> open_files(const Directory& directory, const Manifest& manifest) {
  std::map<std::string, InputFile> files;
  for (const auto& [name, record] : manifest.files) files.emplace(name, InputFile(directory, name));
  for (const auto& [name, record] : manifest.files) verify(files.at(name), record);
  return files;
}

/// Refuses sizes that the files cannot hold before memory is taken for them. Every label has an int64 id and its
/// weights, a weight at least one byte.
void check_sizes(const Manifest& manifest, const InputFile& model, const InputFile& optimizer) {
  const ClassifierConfig& config = manifest.config;
  double least = static_cast<double>(config.num_labels) *
                 static_cast<double>(sizeof(int64_t) + config.fan_in.value_or(config.layer_features()));
  if (config.hidden) least += static_cast<double>(config.in_features) * static_cast<double>(config.hidden->features);
  if (least > static_cast<double>(model.size()))
    throw CheckpointError("'" + model.path() + "' has only " + std::to_string(model.size()) +
                          " bytes, too few for the configuration in config.json; the checkpoint is damaged");
  for (const KeptBatchSize& kept : manifest.progress.kept)
    if (static_cast<uint64_t>(kept.positives) > optimizer.size())
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

/// May the stored tensor be written to the model's? The output layer's weights may be of another precision.
bool fits(const NamedTensor& stored, const NamedTensor& expected) {
  const bool converts = !is_optimizer_state(expected) && expected.name.ends_with(".weights") &&
                        is_float(stored.dtype) && is_float(expected.dtype);
  return stored.shape == expected.shape && (stored.dtype == expected.dtype || converts);
}

/// Is what the files hold exactly what the model has?
TensorIndex match(const std::vector<NamedTensor>& expected, const SafetensorsReader& model,
                  const SafetensorsReader& optimizer, const std::string& path) {
  TensorIndex index;
  for (const SafetensorsReader* reader : {&model, &optimizer})
    for (size_t i = 0; i < reader->tensors().size(); ++i) {
      const NamedTensor& tensor = reader->tensors()[i];
      if (is_optimizer_state(tensor) != (reader == &optimizer))
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

}  // namespace

void Classifier::save(const std::string& path, const std::vector<std::string>& label_names,
                      const std::string& card) const {
  check_label_names(label_names, config().num_labels);
  AtomicDirectory target(path);
  const Directory& directory = target.directory();
  Manifest manifest = {SPARSEXMC_VERSION, config(), progress(), {}};

  const std::vector<NamedTensor> all = tensors();
  std::vector<NamedTensor> model, optimizer;
  for (const NamedTensor& tensor : all) (is_optimizer_state(tensor) ? optimizer : model).push_back(tensor);
  const auto buffer = make_buffer(all);
  manifest.files[model_file] = write_tensors(directory, model_file, *this, std::move(model), buffer.get());
  manifest.files[optimizer_file] = write_tensors(directory, optimizer_file, *this, std::move(optimizer), buffer.get());
  if (!label_names.empty()) {
    OutputFile file(directory, labels_file);
    write_label_names(file, label_names);
    manifest.files[labels_file] = file.finish();
  }
  manifest.files[card_file] =
      write_text(directory, card_file, card.empty() ? default_card(manifest, count_parameters(all)) : card);
  write_text(directory, manifest_file, to_text(manifest));
  target.publish();
}

Classifier Classifier::load(const std::string& path, const std::string& device, int num_threads) {
  const Directory directory = open_checkpoint(path);
  const Manifest manifest = parse_manifest(read_manifest_text(directory), directory.path() + "/" + manifest_file);
  const std::map<std::string, InputFile> files = open_files(directory, manifest);
  const SafetensorsReader model(files.at(model_file)), optimizer(files.at(optimizer_file));
  check_sizes(manifest, files.at(model_file), files.at(optimizer_file));

  ClassifierConfig config = manifest.config;
  if (!device.empty()) config.device = device;
  config.num_threads = num_threads;
  if (Device::parse(config.device).kind == DeviceKind::cpu) config.weight_dtype = DType::float32;
  Classifier classifier(config, Restored{});
  try {
    classifier.set_progress(manifest.progress);
  } catch (const ArgumentError& error) {
    throw CheckpointError("'" + directory.path() + "': " + error.what() + "; the checkpoint is damaged");
  }
  const std::vector<NamedTensor> tensors = classifier.tensors();
  const TensorIndex index = match(tensors, model, optimizer, directory.path());
  std::vector<NamedTensor> stored;
  for (const NamedTensor& tensor : tensors) stored.push_back(index.at(tensor.name).tensor());
  const auto buffer = make_buffer(stored);
  try {
    for (const NamedTensor& tensor : stored) {
      const TensorPlace& place = index.at(tensor.name);
      place.reader->read(place.number, buffer.get());
      classifier.write(tensor.name, buffer.get(), tensor.dtype);
    }
  } catch (const ArgumentError& error) {
    throw CheckpointError("'" + directory.path() + "': " + error.what() + "; the checkpoint is damaged");
  }
  return classifier;
}

std::vector<std::string> load_label_names(const std::string& path) {
  const Directory directory = open_checkpoint(path);
  const Manifest manifest = parse_manifest(read_manifest_text(directory), directory.path() + "/" + manifest_file);
  const auto record = manifest.files.find(labels_file);
  if (record == manifest.files.end()) return {};
  const InputFile file(directory, labels_file);
  verify(file, record->second);
  return read_label_names(file, manifest.config.num_labels);
}

std::string read_checkpoint_info(const std::string& path) {
  const Directory directory = open_checkpoint(path);
  std::string text = read_manifest_text(directory);
  parse_manifest(text, directory.path() + "/" + manifest_file);
  return text;
}

}  // namespace sparsexmc
