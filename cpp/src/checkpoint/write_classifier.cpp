#include "checkpoint/write_classifier.h"

#include <cstddef>
#include <utility>

#include "checkpoint/card.h"
#include "checkpoint/labels.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensors.h"
#include "finite.h"
#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

/// No model is ever published that nobody can use.
void check_weights(const NamedTensor& tensor, const std::byte* numbers) {
  if (!is_float(tensor.dtype) ||
      all_finite(numbers, tensor.dtype, static_cast<int64_t>(tensor.bytes() / dtype_size(tensor.dtype))))
    return;
  throw CheckpointError("'" + tensor.name +
                        "' holds NaN or Inf: training has diverged, and such a model is not saved; load the last good "
                        "checkpoint, then lower lr, or scale down the inputs");
}

PartRecord write_tensors(const Directory& directory, const char* name, const Classifier& classifier,
                         std::vector<NamedTensor> tensors, std::byte* buffer) {
  OutputFile file(directory, name);
  SafetensorsWriter writer(file, std::move(tensors));
  for (const NamedTensor& tensor : writer.tensors()) {
    classifier.read(tensor.name, buffer);
    if (!is_optimizer_state(tensor)) check_weights(tensor, buffer);
    writer.write(buffer);
  }
  return file.finish();
}

PartRecord write_text(const Directory& directory, const char* name, const std::string& text) {
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

}  // namespace

void write_classifier(const Directory& directory, const Classifier& classifier,
                      const std::vector<std::string>& label_names, const std::string& card, bool for_prediction,
                      Manifest& manifest) {
  if (!for_prediction && !classifier.trainable())
    throw ArgumentError(
        "save needs the optimizer's state, but this classifier was loaded for prediction only; load it with "
        "trainable=True");
  check_label_names(label_names, classifier.config().num_labels);
  manifest.config = classifier.config();
  manifest.progress = classifier.progress();
  if (for_prediction) manifest.progress.kept.clear();
  const std::vector<NamedTensor> all = classifier.tensors();
  std::vector<NamedTensor> model, optimizer;
  for (const NamedTensor& tensor : all) (is_optimizer_state(tensor) ? optimizer : model).push_back(tensor);
  const auto buffer = make_buffer(all);
  auto& parts = manifest.parts;
  parts[model_file] = write_tensors(directory, model_file, classifier, std::move(model), buffer.get());
  if (!for_prediction)
    parts[optimizer_file] = write_tensors(directory, optimizer_file, classifier, std::move(optimizer), buffer.get());
  if (!label_names.empty()) {
    OutputFile file(directory, labels_file);
    write_label_names(file, label_names);
    parts[labels_file] = file.finish();
  }
  parts[card_file] =
      write_text(directory, card_file, card.empty() ? default_card(manifest, count_parameters(all)) : card);
}

}  // namespace sparsexmc::checkpoint
