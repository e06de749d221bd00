#include "checkpoint/directory.h"

#include <fcntl.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/fs.h>
#include <sys/syscall.h>
#endif

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "checkpoint/permissions.h"
#include "checkpoint/temporary_directory.h"
#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr int max_attempts = 100;  // to take a place that other processes take again and again

/// @return 0, or the error number. Called by number: the wrapper is newer than the C library that a wheel may meet.
int exchange_names([[maybe_unused]] const std::string& a, [[maybe_unused]] const std::string& b) {
#if defined(SYS_renameat2) && defined(RENAME_EXCHANGE)
  return syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0 ? 0 : errno;
#else
  return ENOSYS;
#endif
}

/// Whether a rename failed because a directory that holds something has the new name.
bool is_full(int error) { return error == ENOTEMPTY || error == EEXIST; }

void report(const std::function<void(PublishStep)>& reached, PublishStep step) {
  if (reached) reached(step);
}

}  // namespace

AtomicDirectory::AtomicDirectory(const std::string& path, DirectoryKind kind)
    : final_(resolve(path)),
      aside_(aside_path(final_)),
      kind_(std::move(kind)),
      process_(getpid()),
      temporary_((check_outside_models(final_), recover(final_), check_replaceable(final_, kind_),
                  make_temporary(final_, kind_))) {
  take_directory_mode(final_, temporary_);
}

AtomicDirectory::~AtomicDirectory() {
  if (!published_ && getpid() == process_) remove_unpublished(temporary_.path());
}

void AtomicDirectory::publish(const std::function<void(PublishStep)>& reached, bool exchange) {
  take_modes(final_, temporary_);
  temporary_.sync();
  report(reached, PublishStep::written);
  check_replaceable(final_, kind_);  // again: writing may have taken long
  const Directory parent(fs::path(final_).parent_path().string());
  const Way way = put_into_place(reached, exchange);
  published_ = true;
  try {
    parent.sync();
  } catch (const CheckpointError&) {  // then nobody knows which of the two names is on the disk
    take_back(way);
    throw;
  }
  report(reached, PublishStep::published);
  try {
    retire(temporary_.path(), kind_, temporary_);  // after an exchange the old one has this name
    retire(aside_, kind_, temporary_);             // also one that a killed process left
  } catch (const CheckpointError&) {               // the next save removes it
  }
  report(reached, PublishStep::cleaned);
}

AtomicDirectory::Way AtomicDirectory::put_into_place(const std::function<void(PublishStep)>& reached, bool exchange) {
  for (int attempt = 1;; ++attempt) {
    // Renaming takes the place of nothing, or of an empty directory; a full one has to change places.
    if (rename(temporary_.path().c_str(), final_.c_str()) == 0) return Way::renamed;
    if (!is_full(errno)) throw_io_error("replace", final_, errno);
    int error = exchange ? exchange_names(temporary_.path(), final_) : ENOSYS;
    if (error == 0) return Way::exchanged;
    if (error == EINVAL || error == ENOSYS || error == ENOTSUP) {
      error = set_aside(reached);
      if (error == 0) return Way::set_aside;
    }
    // Another saver has renamed what is there in between: what it has put there is looked at anew.
    if ((error != ENOENT && !is_full(error)) || attempt == max_attempts) throw_io_error("replace", final_, error);
  }
}

int AtomicDirectory::set_aside(const std::function<void(PublishStep)>& reached) {
  retire(aside_, kind_, temporary_);
  if (rename(final_.c_str(), aside_.c_str()) != 0) return errno;
  report(reached, PublishStep::set_aside);
  if (rename(temporary_.path().c_str(), final_.c_str()) == 0) return 0;
  const int error = errno;
  if (!is_full(error)) rename(aside_.c_str(), final_.c_str());
  return error;
}

void AtomicDirectory::take_back(Way way) noexcept {
  const bool is_back = way == Way::exchanged ? exchange_names(temporary_.path(), final_) == 0
                                             : rename(final_.c_str(), temporary_.path().c_str()) == 0;
  if (is_back && way == Way::set_aside) rename(aside_.c_str(), final_.c_str());
  published_ = !is_back;
}

}  // namespace sparsexmc::checkpoint
