#include "sparsexmc/text_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

struct Descriptor {
  int number;
  explicit Descriptor(int opened) : number(opened) {}
  ~Descriptor() { close(number); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

[[noreturn]] void fail_to_read(const std::string& path) {
  throw ArgumentError("path: cannot read '" + path + "': " + std::strerror(errno));
}

}  // namespace

TextSource::TextSource(const std::string& path) : name_(path) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const int opened = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (opened < 0) fail_to_read(path);
  const auto file = std::make_shared<Descriptor>(opened);
  struct stat status;
  if (fstat(opened, &status) != 0 || !S_ISREG(status.st_mode)) {
    throw ArgumentError("path: '" + path +
                        "' is a directory, pipe or device, where a regular file is needed; copy it to one");
  }
  bytes_ = static_cast<int64_t>(status.st_size);
  read_ = [file, path](char* block, size_t size) {
    ssize_t got = -1;
    do got = ::read(file->number, block, size);
    while (got < 0 && errno == EINTR);
    if (got < 0) fail_to_read(path);
    return static_cast<size_t>(got);
  };
}

TextSource::TextSource(std::string name, Read read) : name_(std::move(name)), read_(std::move(read)) {}

}  // namespace sparsexmc
