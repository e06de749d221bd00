#include "checkpoint/json.h"

#include <limits>
#include <set>
#include <vector>

#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr int max_depth = 32;  // our own files have 4; destroying or printing deep values would exhaust the stack

[[noreturn]] void throw_ill_typed(const Json& value, const char* key, const char* expected, const std::string& origin) {
  throw CheckpointError("'" + origin + "': '" + key + "' is of type " + value.type_name() + ", not " + expected +
                        "; the file is damaged or foreign");
}

}  // namespace

Json parse_json(std::string_view text, const std::string& origin) {
  std::vector<std::set<std::string>> open_objects;
  const auto check = [&](int depth, Json::parse_event_t event, const Json& value) {
    if (depth > max_depth)
      throw CheckpointError("'" + origin + "': the JSON is nested too deeply; the file is damaged or foreign");
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key && !open_objects.back().insert(value.get<std::string>()).second)
      throw CheckpointError("'" + origin + "': the key " + value.dump() + " occurs twice; the file is damaged");
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::parse_error& error) {  // its text would quote bytes that need not be UTF-8
    throw CheckpointError("'" + origin + "' is not valid JSON at byte " + std::to_string(error.byte) +
                          "; the file is damaged or foreign");
  } catch (const Json::exception&) {
    throw CheckpointError("'" + origin + "' holds a number out of range; the file is damaged or foreign");
  }
}

const Json& member(const Json& object, const char* key, const std::string& origin) {
  if (!object.is_object())
    throw CheckpointError("'" + origin + "': expected an object that holds '" + key +
                          "'; the file is damaged or foreign");
  const auto found = object.find(key);
  if (found == object.end())
    throw CheckpointError("'" + origin + "': '" + key + "' is missing; the file is damaged or foreign");
  return *found;
}

bool is_count(const Json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
}

int64_t count_member(const Json& object, const char* key, const std::string& origin) {
  const Json& value = member(object, key, origin);
  if (!is_count(value)) throw_ill_typed(value, key, "a non-negative 64-bit integer", origin);
  return value.get<int64_t>();
}

const std::string& string_member(const Json& object, const char* key, const std::string& origin) {
  const Json& value = member(object, key, origin);
  if (!value.is_string()) throw_ill_typed(value, key, "string", origin);
  return value.get_ref<const std::string&>();
}

const Json& object_member(const Json& object, const char* key, const std::string& origin) {
  const Json& value = member(object, key, origin);
  if (!value.is_object()) throw_ill_typed(value, key, "object", origin);
  return value;
}

const Json& array_member(const Json& object, const char* key, const std::string& origin) {
  const Json& value = member(object, key, origin);
  if (!value.is_array()) throw_ill_typed(value, key, "array", origin);
  return value;
}

double number_member(const Json& object, const char* key, const std::string& origin) {
  const Json& value = member(object, key, origin);
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!value.is_number()) throw_ill_typed(value, key, "number", origin);
  return value.get<double>();
}

}  // namespace sparsexmc::checkpoint
