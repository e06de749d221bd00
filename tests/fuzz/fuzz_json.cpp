// JSON of any kind, and a configuration in it. What is accepted has to survive being written and read again.
#include <cstdlib>
#include <string>

#include "checkpoint/json.h"
#include "input_file.h"
#include "sparsexmc/config.h"
#include "sparsexmc/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const std::string written = sparsexmc::checkpoint::parse_json(text, "input").dump();
    if (sparsexmc::checkpoint::parse_json(written, "input").dump() != written) std::abort();
  } catch (const sparsexmc::CheckpointError&) {
    return 0;
  }
  try {
    const sparsexmc::ClassifierConfig config = sparsexmc::ClassifierConfig::from_json(text);
    config.check();
    if (sparsexmc::ClassifierConfig::from_json(config.to_json()).to_json() != config.to_json()) std::abort();
  } catch (const sparsexmc::Error&) {
  }
  return 0;
}
