// Replacing a checkpoint directory as a whole: at every moment the old or the new one is there.
#pragma once

#include <functional>
#include <string>

#include "checkpoint/file.h"

namespace sparsexmc::checkpoint {

/// Opens the checkpoint at `path`, also where a save was killed while the old one was set aside.
Directory open_checkpoint(const std::string& path);

/// How far publish() has come.
enum class PublishStep {
  written,    ///< complete in the temporary directory, and on the disk
  set_aside,  ///< only without an atomic exchange: the old checkpoint stands under its second name
  published,  ///< the new one stands under the final name
  cleaned     ///< the old one is gone
};

/// A directory beside its final place that takes it in one step. Destroyed before that, it vanishes.
class AtomicDirectory {
 public:
  /// Makes the temporary directory `<path>.tmp-<pid>-<random>`, and the parent of `path` where it is missing. Removes
  /// the temporary directories of processes that were killed while they saved to `path`.
  /// @throws CheckpointError if `path` is a file, or a directory that holds anything but a checkpoint
  explicit AtomicDirectory(const std::string& path);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const Directory& directory() const { return temporary_; }

  /// Puts it into its place. Files of the old directory that are not of a checkpoint move into the new one.
  /// @param reached called after each step; the tests end the process there
  /// @param exchange false: do without exchanging the two names, as on file systems that cannot
  void publish(const std::function<void(PublishStep)>& reached = {}, bool exchange = true);

 private:
  void swap_in_two_renames(const std::function<void(PublishStep)>& reached);

  std::string final_;
  std::string aside_;
  Directory temporary_;
  bool published_ = false;
};

}  // namespace sparsexmc::checkpoint
