// Replacing a directory as a whole: at every moment the old or the new one is there.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "checkpoint/directory_kind.h"
#include "checkpoint/file.h"

namespace sparsexmc::checkpoint {

/// How far publish() has come.
enum class PublishStep {
  written,    ///< complete in the temporary directory, and on the disk
  set_aside,  ///< only without an atomic exchange: the old directory stands under its second name
  published,  ///< the new one stands under the final name
  cleaned     ///< the old one is gone
};

/// A directory beside its final place that takes it in one step, and the permissions of what was there. Destroyed
/// before that, it vanishes.
class AtomicDirectory {
 public:
  /// Makes the temporary directory, see make_temporary().
  /// @throws CheckpointError if something is at `path` that may not be replaced, see check_replaceable(), or it lies in
  ///         a model, see check_outside_models()
  explicit AtomicDirectory(const std::string& path, DirectoryKind kind = model_kind());
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const Directory& directory() const { return temporary_; }

  /// Puts it into its place. Hidden files of the old directory move into the new one.
  /// @param reached called after each step; the tests end the process there
  /// @param exchange false: do without exchanging the two names, as on file systems that cannot
  /// @throws CheckpointError; the old directory is in its place
  void publish(const std::function<void(PublishStep)>& reached = {}, bool exchange = true);

 private:
  enum class Way { renamed, exchanged, set_aside };

  Way put_into_place(const std::function<void(PublishStep)>& reached, bool exchange);
  /// Puts it into its place while the old one has another name for a moment. @return 0, or the error number
  int set_aside(const std::function<void(PublishStep)>& reached);
  void take_back(Way way) noexcept;

  std::string final_;
  std::string aside_;
  DirectoryKind kind_;
  pid_t process_;  // a forked child leaves the directory alone
  Directory temporary_;
  bool published_ = false;
};

}  // namespace sparsexmc::checkpoint
