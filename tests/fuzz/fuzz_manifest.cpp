// config.json, its hash made right so that its content is read.
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/json.h"
#include "checkpoint/manifest.h"
#include "checkpoint/sha256.h"
#include "input_file.h"
#include "sparsexmc/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace checkpoint = sparsexmc::checkpoint;
  std::string text(reinterpret_cast<const char*>(data), size);
  try {
    nlohmann::json document = checkpoint::parse_json(text, "config.json");
    if (document.is_object()) {
      document.erase("sha256");
      document["sha256"] = checkpoint::sha256(document.dump());
      text = document.dump();
    }
    const checkpoint::Manifest manifest = checkpoint::parse_manifest(text, "config.json");
    checkpoint::parse_manifest(checkpoint::to_text(manifest), "config.json");
  } catch (const sparsexmc::CheckpointError&) {
  }
  return 0;
}
