#include "checkpoint/card.h"

#include "losses.h"

namespace sparsexmc::checkpoint {
namespace {

/// With commas between the thousands.
std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (auto i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > 0; i -= 3)
    text.insert(static_cast<size_t>(i), 1, ',');
  return text;
}

std::string output_layer(const ClassifierConfig& config) {
  const std::string all = grouped(config.layer_features()) + " features per label";
  if (!config.fan_in) return "dense: " + all;
  std::string text = grouped(*config.fan_in) + " of " + all + ", shared by groups of " + grouped(config.group_size);
  if (config.dense_labels > 0) text += "; the " + grouped(config.dense_labels) + " most frequent labels read all";
  return text;
}

}  // namespace

std::string default_card(const Manifest& manifest, int64_t parameters) {
  const ClassifierConfig& config = manifest.config;
  const auto row = [](const std::string& name, const std::string& value) {
    return "| " + name + " | " + value + " |\n";
  };
  return "---\nlibrary_name: sparsexmc\ntags:\n- extreme-classification\n---\n# Classifier of " +
         grouped(config.num_labels) + " labels\n\nTrained with sparsexmc " + manifest.library_version + ".\n\n" +
         row("", "") + row("---", "---") +
         row("input", grouped(config.in_features) + (config.sparse_input ? " sparse" : " dense") + " features") +
         row("hidden layer", config.hidden ? grouped(config.hidden->features) + " features, ReLU" : "none") +
         row("output layer", output_layer(config)) + row("parameters", grouped(parameters)) +
         row("loss", losses::visit_loss(config.loss, [](auto formula) { return decltype(formula)::words; })) +
         row("optimizer", config.optimizer.kind == OptimizerKind::adam ? "Adam" : "SGD") +
         row("training steps", grouped(manifest.progress.step)) +
         "\n## How to load\n\n```python\nimport sparsexmc as sx\n\n"
         "classifier = sx.load(\"path/to/this/directory\", device=\"cpu\")\n"
         "scores, ids = classifier.topk(embeddings, k=5)\n```\n\n"
         "The weights are in the safetensors format. `config.json` holds the hash of every file here, this one\n"
         "included: pass a card of your own to `save(..., card=...)` rather than editing it in place.\n\n"
         "## Training data\n\nNot stated by the author.\n\n## Evaluation\n\nNot stated by the author.\n\n"
         "## Intended use and limits\n\nNot stated by the author.\n";
}

}  // namespace sparsexmc::checkpoint
