#include "checkpoint/labels.h"

#include <algorithm>
#include <cstdint>
#include <sstream>

#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {

bool is_utf8(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i++]);
    if (lead < 0x80) continue;
    if (lead < 0xC2 || lead > 0xF4) return false;
    uint8_t low = 0x80, high = 0xBF;  // of the second byte
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    for (int rest = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3; rest > 0; --rest, low = 0x80, high = 0xBF) {
      if (i == text.size()) return false;
      const auto byte = static_cast<uint8_t>(text[i++]);
      if (byte < low || byte > high) return false;
    }
  }
  return true;
}

void check_label_names(const std::vector<std::string>& names, int64_t num_labels) {
  if (names.empty()) return;
  if (static_cast<int64_t>(names.size()) != num_labels)
    throw ArgumentError("label_names has " + std::to_string(names.size()) + " names for " + std::to_string(num_labels) +
                        " labels; give one name per label, or none");
  for (size_t id = 0; id < names.size(); ++id) {
    const std::string which = "label_names[" + std::to_string(id) + "]";
    if (names[id].find('\n') != std::string::npos)
      throw ArgumentError(which + " holds a line break; labels.txt has one name per line: replace it with a space");
    if (!is_utf8(names[id])) throw ArgumentError(which + " is not UTF-8; convert it first");
  }
}

void write_label_names(OutputFile& file, const std::vector<std::string>& names) {
  constexpr size_t flush_bytes = size_t{1} << 20;
  std::string buffer;
  for (const std::string& name : names) {
    buffer += name;
    buffer += '\n';
    if (buffer.size() < flush_bytes) continue;
    file.write(buffer);
    buffer.clear();
  }
  file.write(buffer);
}

std::vector<std::string> read_label_names(const InputFile& file, int64_t num_labels) {
  constexpr uint64_t max_name_bytes = uint64_t{1} << 20;
  std::istringstream lines(file.text(static_cast<uint64_t>(num_labels) * max_name_bytes));
  std::vector<std::string> names;
  for (std::string name; std::getline(lines, name);) names.push_back(std::move(name));
  if (static_cast<int64_t>(names.size()) != num_labels)
    throw CheckpointError("'" + file.path() + "' has " + std::to_string(names.size()) + " lines for " +
                          std::to_string(num_labels) + " labels; it is damaged");
  if (!std::ranges::all_of(names, is_utf8)) throw CheckpointError("'" + file.path() + "' is not UTF-8; it is damaged");
  return names;
}

}  // namespace sparsexmc::checkpoint
