// labels.txt of a model; the first byte says how many labels it has.
#include <cstdlib>

#include "checkpoint/labels.h"
#include "input_file.h"
#include "sparsexmc/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace checkpoint = sparsexmc::checkpoint;
  if (size == 0) return 0;
  const MemoryFile memory(data + 1, size - 1);
  try {
    const checkpoint::InputFile file(checkpoint::Directory(MemoryFile::directory()), memory.name());
    if (checkpoint::read_label_names(file, data[0]).size() != data[0]) std::abort();
  } catch (const sparsexmc::CheckpointError&) {
  }
  return 0;
}
