// A safetensors file: every tensor that its header is accepted with can be read.
#include <vector>

#include "checkpoint/safetensors.h"
#include "input_file.h"
#include "sparsexmc/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace checkpoint = sparsexmc::checkpoint;
  const MemoryFile memory(data, size);
  try {
    const checkpoint::InputFile file(checkpoint::Directory(MemoryFile::directory()), memory.name());
    const checkpoint::SafetensorsReader reader(file);
    for (size_t i = 0; i < reader.tensors().size(); ++i) {
      std::vector<char> out(reader.tensors()[i].bytes());
      reader.read(i, out.data());
    }
  } catch (const sparsexmc::CheckpointError&) {
  }
  return 0;
}
