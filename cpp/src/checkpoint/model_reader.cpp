#include <memory>
#include <utility>

#include "checkpoint/labels.h"
#include "checkpoint/open_model.h"
#include "sparsexmc/checkpoint.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

ModelReader::ModelReader(const std::string& path)
    : model_(std::make_shared<const checkpoint::OpenModel>(checkpoint::open_model(path))) {}

const std::string& ModelReader::manifest() const { return model_->text; }

const std::map<std::string, PartRecord>& ModelReader::parts() const { return model_->manifest.parts; }

void ModelReader::read(const std::string& name, uint64_t offset, void* out, size_t bytes) const {
  model_->file(name).read(offset, out, bytes);
}

Classifier ModelReader::classifier(const std::string& device, int num_threads, bool trainable,
                                   std::shared_ptr<Context> context) const {
  return Classifier::restore(*model_, device, num_threads, trainable, std::move(context));
}

std::vector<std::string> ModelReader::label_names() const {
  if (!parts().contains(checkpoint::labels_file)) return {};
  return checkpoint::read_label_names(model_->file(checkpoint::labels_file), model_->manifest.config.num_labels);
}

std::vector<std::string> load_label_names(const std::string& path) { return ModelReader(path).label_names(); }

std::string read_checkpoint_info(const std::string& path) { return ModelReader(path).manifest(); }

}  // namespace sparsexmc
