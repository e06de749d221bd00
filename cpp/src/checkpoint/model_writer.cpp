#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "checkpoint/directory.h"
#include "checkpoint/file.h"
#include "checkpoint/manifest.h"
#include "checkpoint/temporary_directory.h"
#include "checkpoint/write_classifier.h"
#include "sparsexmc/checkpoint.h"
#include "sparsexmc/error.h"

namespace sparsexmc {

using namespace checkpoint;  // NOLINT(google-build-using-namespace): this file is its front

struct ModelWriter::Impl {
  explicit Impl(const std::string& path) : target(std::in_place, path) {}

  std::optional<AtomicDirectory> target;  // gone with its writer, whoever holds a part
  Manifest manifest = {SPARSEXMC_VERSION, {}, {}, {}};
  std::set<std::string> unfinished;
  bool has_classifier = false;
  bool published = false;

  void check_open() const {
    if (published) throw ArgumentError("the model has been published; make another ModelWriter");
  }
};

struct PartWriter::Impl {
  std::shared_ptr<ModelWriter::Impl> model;
  std::string name;
  std::optional<OutputFile> file;
};

void PartWriter::write(const void* data, size_t bytes) {
  if (!impl_->file) throw ArgumentError("part '" + impl_->name + "' has been closed");
  impl_->file->write(data, bytes);
}

void PartWriter::close() {
  if (!impl_->file) return;
  OutputFile file = std::move(*std::exchange(impl_->file, std::nullopt));
  impl_->model->manifest.parts[impl_->name] = file.finish();
  impl_->model->unfinished.erase(impl_->name);
}

ModelWriter::ModelWriter(const std::string& path) : impl_(std::make_shared<Impl>(path)) {}

ModelWriter::~ModelWriter() {
  if (impl_) impl_->target.reset();
}

void ModelWriter::add_classifier(const Classifier& classifier, const std::vector<std::string>& label_names,
                                 const std::string& card, bool for_prediction) {
  impl_->check_open();
  if (impl_->has_classifier) throw ArgumentError("the model has a classifier already");
  write_classifier(impl_->target->directory(), classifier, label_names, card, for_prediction, impl_->manifest);
  impl_->has_classifier = true;
}

PartWriter ModelWriter::open(const std::string& name) {
  impl_->check_open();
  if (!is_part_name(name))
    throw ArgumentError("name='" + name + "' cannot be the name of a part; give a plain file name without a slash, " +
                        "which does not begin with a dot and is not config.json");
  if (impl_->target->directory().contains(name))
    throw ArgumentError("the model has a part '" + name + "' already; give another name");
  auto part = std::make_shared<PartWriter::Impl>(impl_, name);
  part->file.emplace(impl_->target->directory(), name);
  impl_->unfinished.insert(name);
  return PartWriter(std::move(part));
}

void ModelWriter::add_text(const std::string& name, const std::string& text) {
  PartWriter part = open(name);
  part.write(text.data(), text.size());
  part.close();
}

void ModelWriter::publish() {
  impl_->check_open();
  if (!impl_->has_classifier) throw ArgumentError("a model needs a classifier; call add_classifier() first");
  if (!impl_->unfinished.empty())
    throw ArgumentError("part '" + *impl_->unfinished.begin() + "' was not closed, so it may not be whole");
  OutputFile file(impl_->target->directory(), manifest_file);
  file.write(to_text(impl_->manifest));
  file.finish();
  impl_->target->publish();
  impl_->published = true;
}

struct DirectoryWriter::Impl {
  Impl(const std::string& path, const std::vector<std::string>& names)
      : target(path, kind_of_files("directory", {names.begin(), names.end()})) {}

  AtomicDirectory target;
};

DirectoryWriter::DirectoryWriter(const std::string& path, const std::vector<std::string>& names)
    : impl_(std::make_unique<Impl>(path, names)) {}

DirectoryWriter::~DirectoryWriter() = default;

DirectoryWriter::DirectoryWriter(DirectoryWriter&&) noexcept = default;

const std::string& DirectoryWriter::path() const { return impl_->target.directory().path(); }

void DirectoryWriter::publish() {
  for (const std::string& name : impl_->target.directory().names()) InputFile(impl_->target.directory(), name).sync();
  impl_->target.publish();
}

std::string enclosing_model(const std::string& path) { return find_enclosing_model(resolve(path)); }

void recover_directory(const std::string& path) { recover(resolve(path)); }

}  // namespace sparsexmc
