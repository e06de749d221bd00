// A model directory: the classifier and whatever else belongs to the model, written and read as one thing. Every part
// is listed in config.json with its size and hash; the directory appears in one step. Classifier::save and
// Classifier::load are the short way for a classifier alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sparsexmc/export.h"

namespace sparsexmc {

class Classifier;
class Context;

namespace checkpoint {
struct OpenModel;
}

/// The record of a part in config.json.
struct PartRecord {
  uint64_t bytes = 0;
  std::string sha256;  ///< empty: a file that older versions put beside a checkpoint of format 1, which lists no hash
};

/// A new part of a model directory, written from its beginning to its end.
class SPARSEXMC_API PartWriter {
 public:
  /// Goes through a buffer: what the disk refuses comes up here or in close().
  /// @throws CheckpointError
  void write(const void* data, size_t bytes);
  /// Waits until the content is on the disk, and lists the part. Without it the model cannot be published.
  /// @throws CheckpointError
  void close();

 private:
  friend class ModelWriter;
  struct SPARSEXMC_HIDDEN Impl;
  explicit PartWriter(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

/// Writes a model into a temporary directory beside its place; publish() puts it there in one step. Destroyed before
/// that, everything vanishes, open parts included, and what was there stays.
class SPARSEXMC_API ModelWriter {
 public:
  /// Makes the temporary directory and missing parents, and removes what killed processes left of saving to `path`.
  /// @throws CheckpointError if `path` is a file, or a directory that is no model, or that holds a file which its model
  ///         does not list and which is not hidden; or if nothing can be written there
  explicit ModelWriter(const std::string& path);
  ~ModelWriter();
  ModelWriter(ModelWriter&&) noexcept = default;
  ModelWriter& operator=(ModelWriter&&) = delete;

  /// Weights, optimizer state, label names (empty, or one per label) and the model card (empty: a short default).
  /// @param for_prediction leaves the optimizer's state out: the model can be loaded with trainable = false alone
  /// @throws ArgumentError also for a classifier that was loaded with trainable = false, unless `for_prediction`
  /// @throws CheckpointError
  void add_classifier(const Classifier& classifier, const std::vector<std::string>& label_names = {},
                      const std::string& card = "", bool for_prediction = false);
  /// A new part. @param name a plain file name: no slash, no dot at its beginning
  /// @throws ArgumentError if the name is taken or cannot be one, CheckpointError
  PartWriter open(const std::string& name);
  void add_text(const std::string& name, const std::string& text);
  /// Writes config.json, waits for the disk and takes the place of what is at `path`.
  /// @throws CheckpointError; what was there stays whole
  /// @throws ArgumentError if there is no classifier, or a part was not closed
  void publish();

 private:
  friend class PartWriter;
  struct SPARSEXMC_HIDDEN Impl;
  std::shared_ptr<Impl> impl_;
};

/// A model directory whose parts are all open, and have the sizes and hashes that config.json lists. It stays readable
/// when the directory is replaced meanwhile.
class SPARSEXMC_API ModelReader {
 public:
  /// @throws CheckpointError if a part is missing, damaged, foreign or not listed; hidden files are not parts
  explicit ModelReader(const std::string& path);

  /// The text of config.json: format and library version, configuration, progress, size and hash of every part.
  const std::string& manifest() const;
  const std::map<std::string, PartRecord>& parts() const;
  /// Copies bytes of a part. @throws CheckpointError if there is no such part, or it ends before offset + bytes
  void read(const std::string& name, uint64_t offset, void* out, size_t bytes) const;
  /// As Classifier::load.
  Classifier classifier(const std::string& device = "", int num_threads = 0, bool trainable = true,
                        std::shared_ptr<Context> context = nullptr) const;
  /// Replaces tensors and progress of a classifier with the same configuration, device and threads aside, by the stored
  /// ones: no second model takes memory.
  /// @throws CheckpointError if other tensors are stored; the classifier is as before
  void restore(Classifier& classifier) const;
  /// By user label id; empty if the model was saved without.
  std::vector<std::string> label_names() const;

 private:
  std::shared_ptr<const checkpoint::OpenModel> model_;
};

/// A directory of files that are no model, such as a data set: complete in a temporary directory first, then put into
/// its place in one step.
class SPARSEXMC_API DirectoryWriter {
 public:
  /// @param names the files that such a directory may hold: only a directory of these and of hidden files is replaced
  /// @throws CheckpointError as ModelWriter
  DirectoryWriter(const std::string& path, const std::vector<std::string>& names);
  ~DirectoryWriter();
  DirectoryWriter(DirectoryWriter&&) noexcept;

  /// Of the temporary directory.
  const std::string& path() const;
  /// Waits until all files are on the disk, and takes the place of what is at the final path.
  void publish();

 private:
  struct SPARSEXMC_HIDDEN Impl;
  std::unique_ptr<Impl> impl_;
};

/// The model directory that `path` lies in, itself not counted; empty if there is none. Nothing may be written there: a
/// file that a model does not list makes it unreadable. Hidden files and directories do not count. Writers of this
/// library see to it themselves.
/// @throws CheckpointError if `path` can be none
SPARSEXMC_API std::string enclosing_model(const std::string& path);

/// Puts a directory back that a process set aside when it was killed, where the file system cannot exchange names.
/// ModelWriter, ModelReader and DirectoryWriter do so themselves.
SPARSEXMC_API void recover_directory(const std::string& path);

/// Names by user label id; empty if the checkpoint was saved without.
/// @throws CheckpointError as ModelReader
SPARSEXMC_API std::vector<std::string> load_label_names(const std::string& path);

/// The text of config.json.
/// @throws CheckpointError as ModelReader
SPARSEXMC_API std::string read_checkpoint_info(const std::string& path);

}  // namespace sparsexmc
