#include "checkpoint/manifest.h"

#include <algorithm>
#include <limits>
#include <span>

#include "checkpoint/json.h"
#include "checkpoint/labels.h"
#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr const char* format_name = "sparsexmc-checkpoint";
constexpr int64_t first_version = 1, format_version = 2;
constexpr const char* rng_algorithm = "philox4x32-10";
constexpr uint64_t max_bytes = uint64_t{1} << 28;
constexpr size_t most_rewirings = 1'000'000;  // the latest, which are written: they fit into what is read

/// Hash of everything but the hash. It is taken of the compact text with sorted keys, so white space does not matter.
std::string content_hash(const Json& document_without_hash) { return sha256(document_without_hash.dump()); }

nlohmann::ordered_json encode(const Progress& progress) {
  nlohmann::ordered_json rewirings = nlohmann::ordered_json::array();
  const size_t count = std::min(progress.rewirings.size(), most_rewirings);
  for (const RewiringRecord& record : std::span(progress.rewirings).last(count))
    rewirings.push_back({{"step", record.step},
                         {"segment", record.segment},
                         {"changed", record.changed},
                         {"score_dropped", record.score_dropped},
                         {"score_grown", record.score_grown}});
  nlohmann::ordered_json kept = nlohmann::ordered_json::array();
  for (const KeptBatchSize& size : progress.kept) {
    kept.push_back({{"batch", size.batch}, {"positives", size.positives}});
    if (size.weighted) kept.back()["weighted"] = true;
  }
  return {{"step", progress.step},
          {"skipped", progress.skipped},
          {"lr", progress.lr},
          {"total_steps", progress.total_steps},
          {"averaged", progress.averaged},
          {"average_in_use", progress.average_in_use},
          {"rewirings", std::move(rewirings)},
          {"kept", std::move(kept)}};
}

Progress parse_progress(const Json& json, const std::string& origin) {
  Progress progress;
  progress.step = count_member(json, "step", origin);
  progress.skipped = count_member(json, "skipped", origin);
  progress.lr = number_member(json, "lr", origin);
  if (json.contains("total_steps")) progress.total_steps = count_member(json, "total_steps", origin);  // since 0.2
  if (json.contains("averaged")) {  // since 0.2, both
    progress.averaged = count_member(json, "averaged", origin);
    progress.average_in_use = bool_member(json, "average_in_use", origin);
  }
  for (const Json& record : array_member(json, "rewirings", origin)) {
    const int64_t segment = count_member(record, "segment", origin);
    if (segment > std::numeric_limits<int>::max())
      throw CheckpointError("'" + origin + "': a rewiring is of segment " + std::to_string(segment) +
                            ", which cannot exist; the file is damaged");
    progress.rewirings.push_back(
        {count_member(record, "step", origin), static_cast<int>(segment), count_member(record, "changed", origin),
         number_member(record, "score_dropped", origin), number_member(record, "score_grown", origin)});
  }
  for (const Json& size : array_member(json, "kept", origin))
    progress.kept.push_back({count_member(size, "batch", origin), count_member(size, "positives", origin),
                             size.value("weighted", Json()) == true});
  return progress;
}

ClassifierConfig parse_config(const Json& json, const std::string& origin) {
  try {
    const ClassifierConfig config = ClassifierConfig::from_json(json.dump());
    config.check();
    return config;
  } catch (const ArgumentError& error) {
    throw CheckpointError("'" + origin + "': " + error.what());
  }
}

std::map<std::string, PartRecord> parse_parts(const Json& json, int64_t version, const std::string& origin) {
  std::map<std::string, PartRecord> parts;
  for (const auto& [name, record] : json.items()) {
    const bool is_known = std::ranges::find(classifier_files, name) != std::end(classifier_files);
    if (version == first_version ? !is_known : !is_part_name(name))
      throw CheckpointError("'" + origin + "' lists the unknown file '" + name + "'; it is damaged or foreign");
    parts[name] = {static_cast<uint64_t>(count_member(record, "bytes", origin)),
                   string_member(record, "sha256", origin)};
  }
  if (!parts.contains(model_file))
    throw CheckpointError("'" + origin + "' does not list '" + model_file + "'; it is damaged or foreign");
  return parts;
}

/// Whether a document has what every version of our format has; the rest may differ between versions.
bool is_our_format(const Json& document) {
  return document.is_object() && document.value("format", Json()) == format_name;
}

}  // namespace

bool is_part_name(const std::string& name) {
  constexpr size_t max_name_bytes = 255;
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  return !name.empty() && name.size() <= max_name_bytes && !is_hidden(name) && name != manifest_file &&
         name.find('/') == std::string::npos && std::ranges::none_of(name, is_control) && is_utf8(name);
}

std::string to_text(const Manifest& manifest) {
  nlohmann::ordered_json files = nlohmann::ordered_json::object();
  for (const auto& [name, record] : manifest.parts) files[name] = {{"bytes", record.bytes}, {"sha256", record.sha256}};
  nlohmann::ordered_json document = {{"format", format_name},
                                     {"format_version", format_version},
                                     {"library_version", manifest.library_version},
                                     {"config", nlohmann::ordered_json::parse(manifest.config.to_json())},
                                     {"progress", encode(manifest.progress)},
                                     {"rng", {{"algorithm", rng_algorithm}, {"key", manifest.config.seed}}},
                                     {"files", std::move(files)}};
  // Hashed as a reader will parse it: there NaN has become null.
  document["sha256"] = content_hash(Json::parse(document.dump()));
  return document.dump(2) + "\n";
}

Manifest parse_manifest(const std::string& text, const std::string& origin) {
  Json document = parse_json(text, origin);
  if (!is_our_format(document))
    throw CheckpointError("'" + origin + "' is not of the format " + format_name +
                          "; choose a directory that sparsexmc has saved");
  const int64_t version = count_member(document, "format_version", origin);
  const std::string& library_version = string_member(document, "library_version", origin);
  if (version < first_version || version > format_version)
    throw CheckpointError("'" + origin + "' has format_version " + std::to_string(version) + " (written by sparsexmc " +
                          library_version + "), but this library reads " + std::to_string(first_version) + " and " +
                          std::to_string(format_version) + "; update sparsexmc");
  const std::string hash = string_member(document, "sha256", origin);
  document.erase("sha256");
  if (hash != content_hash(document))
    throw CheckpointError("'" + origin + "' has been edited or damaged: its content does not match its hash; restore " +
                          "it, or save the checkpoint again");
  Manifest manifest;
  manifest.library_version = library_version;
  manifest.format_version = version;
  manifest.config = parse_config(object_member(document, "config", origin), origin);
  manifest.progress = parse_progress(object_member(document, "progress", origin), origin);
  manifest.parts = parse_parts(object_member(document, "files", origin), version, origin);
  const Json& rng = object_member(document, "rng", origin);
  if (string_member(rng, "algorithm", origin) != rng_algorithm || member(rng, "key", origin) != manifest.config.seed)
    throw CheckpointError("'" + origin + "' continues another random stream than " + rng_algorithm + " with key " +
                          std::to_string(manifest.config.seed) + "; it is damaged, or update sparsexmc");
  return manifest;
}

std::string read_manifest_text(const Directory& directory) {
  return InputFile(directory, manifest_file).text(max_bytes);
}

std::optional<std::set<std::string>> find_model_files(const Directory& directory) {
  if (!directory.contains(manifest_file)) return std::nullopt;
  Json document;
  try {
    document = parse_json(read_manifest_text(directory), directory.path());
  } catch (const CheckpointError&) {
    return std::nullopt;
  }
  if (!is_our_format(document)) return std::nullopt;
  std::set<std::string> names(std::begin(classifier_files), std::end(classifier_files));
  names.insert(manifest_file);
  if (document.value("format_version", Json()) == first_version)
    names.insert(std::begin(legacy_files), std::end(legacy_files));
  if (const auto files = document.find("files"); files != document.end() && files->is_object())
    for (const auto& [name, record] : files->items())
      if (is_part_name(name)) names.insert(name);
  return names;
}

}  // namespace sparsexmc::checkpoint
