#include "checkpoint/json.h"

#include <limits>
#include <set>
#include <vector>

#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr int64_t max_values = int64_t{1} << 23;  // a million rewirings; a value takes up to 100 bytes of memory
constexpr int max_depth = 32;  // our own files have 4; destroying or printing deep values would exhaust the stack

[[noreturn]] void throw_ill_typed(const Json& value, const char* key, const char* expected, const std::string& origin) {
  throw CheckpointError("'" + origin + "': '" + key + "' is of type " + value.type_name() + ", not " + expected +
                        "; the file is damaged or foreign");
}

/// Looks at the structure before any value is kept.
class StructureCheck : public nlohmann::json_sax<Json> {
 public:
  explicit StructureCheck(const std::string& origin) : origin_(origin) {}

  bool null() override { return count_value(); }
  bool boolean(bool) override { return count_value(); }
  bool number_integer(number_integer_t) override { return count_value(); }
  bool number_unsigned(number_unsigned_t) override { return count_value(); }
  bool number_float(number_float_t, const string_t&) override { return count_value(); }
  bool string(string_t&) override { return count_value(); }
  bool binary(binary_t&) override { return count_value(); }
  bool start_object(size_t) override {
    open();
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return close();
  }
  bool start_array(size_t) override { return open(); }
  bool end_array() override { return close(); }
  bool key(string_t& key) override {
    if (!keys_.back().insert(key).second)
      throw CheckpointError("'" + origin_ + "': the key " + Json(key).dump() + " occurs twice; the file is damaged");
    return true;
  }
  bool parse_error(size_t byte, const std::string&, const Json::exception& error) override {
    if (dynamic_cast<const Json::parse_error*>(&error) == nullptr)
      throw CheckpointError("'" + origin_ + "' holds a number out of range; the file is damaged or foreign");
    // Its own text would quote bytes that need not be UTF-8.
    throw CheckpointError("'" + origin_ + "' is not valid JSON at byte " + std::to_string(byte) +
                          "; the file is damaged or foreign");
  }

 private:
  bool open() {
    if (++depth_ > max_depth)
      throw CheckpointError("'" + origin_ + "': the JSON is nested too deeply; the file is damaged or foreign");
    return count_value();
  }
  bool close() {
    --depth_;
    return true;
  }
  bool count_value() {
    if (++values_ > max_values)
      throw CheckpointError("'" + origin_ + "': the JSON holds more than " + std::to_string(max_values) +
                            " values; the file is damaged or foreign");
    return true;
  }

  const std::string& origin_;
  std::vector<std::set<std::string>> keys_;  // of the open objects
  int depth_ = 0;
  int64_t values_ = 0;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& origin) {
  try {
    // Json::parse with a callback would take time that grows with the square of the length of arrays.
    StructureCheck check(origin);
    Json::sax_parse(text, &check);
    return Json::parse(text);
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

bool bool_member(const Json& object, const char* key, const std::string& origin) {
  const Json& value = member(object, key, origin);
  if (!value.is_boolean()) throw_ill_typed(value, key, "boolean", origin);
  return value.get<bool>();
}

double number_member(const Json& object, const char* key, const std::string& origin) {
  const Json& value = member(object, key, origin);
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!value.is_number()) throw_ill_typed(value, key, "number", origin);
  return value.get<double>();
}

}  // namespace sparsexmc::checkpoint
