#include "checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "checkpoint/json.h"
#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr uint64_t max_header_bytes = uint64_t{1} << 24;  // ours have a few KiB; parsing takes about 16 times the size
constexpr const char* metadata_key = "__metadata__";

constexpr std::pair<DType, const char*> dtype_names[] = {
    {DType::float32, "F32"}, {DType::float16, "F16"}, {DType::bfloat16, "BF16"}, {DType::uint8, "U8"},
    {DType::uint16, "U16"},  {DType::uint32, "U32"},  {DType::int32, "I32"},     {DType::int64, "I64"}};

const char* format_name(DType dtype) {
  return std::ranges::find(dtype_names, dtype, &std::pair<DType, const char*>::first)->second;
}

std::optional<DType> parse_dtype(std::string_view name) {
  for (const auto& [dtype, text] : dtype_names)
    if (name == text) return dtype;
  return std::nullopt;
}

/// Begin and end of a tensor's data, counted from the end of the header.
struct Entry {
  NamedTensor tensor;
  uint64_t begin;
  uint64_t end;
};

/// Checks one tensor of the header by itself.
Entry parse_entry(const std::string& name, const Json& value, const std::string& path) {
  const auto fail = [&](const std::string& problem) {
    throw CheckpointError("'" + path + "': tensor '" + name + "' " + problem + "; the file is damaged or foreign");
  };
  if (!value.is_object() || value.size() != 3) fail("is not described by dtype, shape and data_offsets");
  const std::string& dtype_text = string_member(value, "dtype", path);
  const std::optional<DType> dtype = parse_dtype(dtype_text);
  if (!dtype) fail("has the dtype '" + dtype_text + "', which sparsexmc does not use");
  std::vector<int64_t> shape;
  uint64_t bytes = dtype_size(*dtype);
  for (const Json& size : array_member(value, "shape", path)) {
    if (!is_count(size)) fail("has a size that is not a non-negative integer");
    shape.push_back(size.get<int64_t>());
    if (__builtin_mul_overflow(bytes, size.get<uint64_t>(), &bytes)) fail("has a shape of more than 2^64 bytes");
  }
  const Json& offsets = array_member(value, "data_offsets", path);
  if (offsets.size() != 2 || !is_count(offsets[0]) || !is_count(offsets[1])) fail("has malformed data_offsets");
  const uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  if (begin > end || end - begin != bytes)
    fail("has data_offsets [" + std::to_string(begin) + ", " + std::to_string(end) + "], but its shape takes " +
         std::to_string(bytes) + " bytes");
  return {{name, *dtype, std::move(shape)}, begin, end};
}

void check_metadata(const Json& metadata, const std::string& path) {
  if (!metadata.is_object() || !std::ranges::all_of(metadata, [](const Json& value) { return value.is_string(); }))
    throw CheckpointError("'" + path + "': " + metadata_key + " is not an object of strings; the file is damaged");
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(OutputFile& file, std::vector<NamedTensor> tensors)
    : file_(file), tensors_(std::move(tensors)) {
  std::ranges::stable_sort(tensors_, std::greater<>(),
                           [](const NamedTensor& tensor) { return dtype_size(tensor.dtype); });
  nlohmann::ordered_json header = {{metadata_key, {{"format", "sparsexmc"}}}};
  uint64_t offset = 0;
  for (const NamedTensor& tensor : tensors_) {
    const uint64_t end = offset + tensor.bytes();
    header[tensor.name] = {
        {"dtype", format_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  file_.write(&length, sizeof length);
  file_.write(text);
}

void SafetensorsWriter::write(const void* data) { file_.write(data, tensors_.at(next_++).bytes()); }

SafetensorsReader::SafetensorsReader(const InputFile& file) : file_(file) {
  const auto fail = [&](const std::string& problem) {
    throw CheckpointError("'" + file.path() + "' " + problem + "; it is truncated, damaged or not a safetensors file");
  };
  uint64_t length = 0;
  if (file.size() < sizeof length) fail("has only " + std::to_string(file.size()) + " bytes");
  file.read(0, &length, sizeof length);
  const uint64_t available = file.size() - sizeof length;
  if (length > available || length > max_header_bytes)
    fail("claims a header of " + std::to_string(length) + " bytes; the file has " + std::to_string(file.size()) +
         ", and a header at most " + std::to_string(max_header_bytes));
  std::string text(static_cast<size_t>(length), '\0');
  file.read(sizeof length, text.data(), text.size());
  const Json header = parse_json(text, file.path());
  if (!header.is_object()) fail("has a header that is not a JSON object");

  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == metadata_key) {
      check_metadata(value, file.path());
    } else {
      entries.push_back(parse_entry(name, value, file.path()));
    }
  }
  std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
  uint64_t end = 0;
  for (Entry& entry : entries) {
    if (entry.begin != end)
      fail("leaves a gap or an overlap before tensor '" + entry.tensor.name + "': it begins at " +
           std::to_string(entry.begin) + ", the one before ends at " + std::to_string(end));
    end = entry.end;
    offsets_.push_back(sizeof length + length + entry.begin);
    tensors_.push_back(std::move(entry.tensor));
  }
  if (end != available - length)
    fail("holds " + std::to_string(available - length) + " bytes of data where its header lists " +
         std::to_string(end));
}

void SafetensorsReader::read(size_t i, void* out) const { file_.read(offsets_.at(i), out, tensors_.at(i).bytes()); }

}  // namespace sparsexmc::checkpoint
